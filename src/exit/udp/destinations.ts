/**
 * Where the datagrams of one association go: each destination is checked when its first datagram comes and again every
 * few seconds, by then current rules and names, so that most datagrams cost one look into a map. Datagrams that come
 * before the answer wait for a short time. Sends nothing itself.
 */
import { sameIp } from '../../net/ip.ts';
import type { Target } from '../../tunnel/stream/stream.ts';
import { type EntryShare, SharedMap } from './entry-share.ts';
import type { PeerAddress } from './peers.ts';

/** As many as there are peers; entries of about 300 bytes. */
const MAX_DESTINATIONS = 1_024;
/** How long a decision holds, ms: as the list of this machine's own addresses, and no longer than those of a name. */
const DECISION_HOLDS_MS = 5_000;
/** Datagrams that wait for a decision: bytes and number, for one association. */
const MAX_WAITING_BYTES = 64 * 1024;
const MAX_WAITING = 64;
/** What waits for longer is dropped, ms: a program that has an answer by then has asked again. */
const WAITS_MS = 1_000;
/** Names that are looked up at a time: beyond, datagrams to further ones are dropped. */
const MAX_LOOK_UPS = 32;

type Found = PeerAddress | undefined;

interface Destination {
  readonly target: Target;
  /** Undefined: not allowed, or not known yet. */
  peer: Found;
  /** When to decide again, ms. */
  until: number;
  isDeciding: boolean;
}

interface Waiting {
  readonly bytes: Uint8Array;
  readonly since: number;
  readonly destination: Destination;
}

export interface DestinationsOptions {
  /**
   * Where datagrams to the target go; undefined: nowhere. A promise if it takes a look-up; never rejects. `before`:
   * where they have gone, and go on if that is still allowed.
   */
  readonly decide: (target: Target, before: Found) => Found | Promise<Found>;
  readonly send: (bytes: Uint8Array, peer: PeerAddress, port: number) => void;
  /** ms, monotonic. */
  readonly now: () => number;
  readonly share: EntryShare;
}

export class Destinations {
  private readonly known: SharedMap<number | string, Destination>;
  /** Most datagrams go where the one before went. */
  private last: Destination | undefined;
  private waiting: Waiting[] = [];
  private waitingBytes = 0;
  private lookUps = 0;

  constructor(private readonly options: DestinationsOptions) {
    this.known = new SharedMap(options.share, MAX_DESTINATIONS);
  }

  /** Nothing more is sent. */
  clear(): void {
    this.known.clear();
    this.waiting = [];
  }

  get size(): number {
    return this.known.size;
  }

  /** Sends it, keeps it for a while, or drops it. */
  handleDatagram(bytes: Uint8Array, target: Target): void {
    const now = this.options.now();
    const destination = this.find(target);
    if (now >= destination.until && !destination.isDeciding) this.decide(destination, now);
    const { peer } = destination;
    if (peer !== undefined) this.options.send(bytes, peer, target.port);
    else if (destination.isDeciding) this.keep({ bytes, since: now, destination });
  }

  private find(target: Target): Destination {
    if (this.last !== undefined && sameTarget(this.last.target, target)) return this.last;
    const key = keyOf(target);
    let destination = this.known.get(key);
    if (destination === undefined) {
      destination = { target, peer: undefined, until: Number.NEGATIVE_INFINITY, isDeciding: false };
      this.known.set(key, destination);
    }
    this.last = destination;
    return destination;
  }

  private decide(destination: Destination, now: number): void {
    if (destination.target.kind === 'name' && this.lookUps >= MAX_LOOK_UPS) return;
    const found = this.options.decide(destination.target, destination.peer);
    if (!(found instanceof Promise)) return this.settle(destination, found, now);
    // What was decided before holds meanwhile.
    destination.isDeciding = true;
    this.lookUps++;
    void found.then((peer) => {
      this.lookUps--;
      destination.isDeciding = false;
      this.settle(destination, peer, this.options.now());
    });
  }

  private settle(destination: Destination, peer: Found, now: number): void {
    destination.peer = peer;
    destination.until = now + DECISION_HOLDS_MS;
    const waiting = this.waiting.filter((each) => each.destination === destination);
    if (waiting.length === 0) return;
    this.waiting = this.waiting.filter((each) => each.destination !== destination);
    for (const { bytes, since } of waiting) {
      this.waitingBytes -= bytes.length;
      if (peer !== undefined && now - since < WAITS_MS) this.options.send(bytes, peer, destination.target.port);
    }
  }

  private keep(datagram: Waiting): void {
    this.dropLate(datagram.since);
    if (this.waiting.length >= MAX_WAITING || this.waitingBytes + datagram.bytes.length > MAX_WAITING_BYTES) return;
    this.waiting.push(datagram);
    this.waitingBytes += datagram.bytes.length;
  }

  private dropLate(now: number): void {
    while (this.waiting[0] !== undefined && now - this.waiting[0].since >= WAITS_MS) {
      this.waitingBytes -= this.waiting.shift()?.bytes.length ?? 0;
    }
  }
}

function sameTarget(one: Target, other: Target): boolean {
  if (one.port !== other.port) return false;
  if (one.kind === 'name') return other.kind === 'name' && one.name === other.name;
  return other.kind === 'ip' && sameIp(one.ip, other.ip);
}

/** Of IPv4 a number, which costs no text. */
function keyOf(target: Target): number | string {
  if (target.kind === 'name') return `${target.port} ${target.name}`;
  const { ip, port } = target;
  const [a = 0, b = 0, c = 0, d = 0] = ip;
  if (ip.length === 4) return (a * 0x1000000 + b * 0x10000 + c * 0x100 + d) * 0x10000 + port;
  return `${port}/${Buffer.from(ip).toString('latin1')}`;
}
