/** Which relays of a cluster there are: each says so again and again, and counts until it has been silent for long. */
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import type { Bus } from './bus.ts';
import { relaysSubject } from './names.ts';

const BEAT_MS = 5_000;
/** Three that were missed. */
const SILENT_MS = 16_000;
/** More than a cluster has: whoever may publish there could invent any number. */
const MAX_RELAYS = 256;
/** Of one relay: as many as an invite has. */
const MAX_PINS = 8;
const NODE = /^[0-9a-f]{8}$/;
const ID = /^[0-9a-f]{16}$/;

export interface ClusterRelay {
  /** 8 hex digits, of one process. */
  readonly node: string;
  /** 16 hex digits, of a state directory: workers of one relay have it in common. */
  readonly id: string;
  /** By which exits and other relays reach this very relay. */
  readonly url: string;
  /** Of its TLS key, where no authority has issued its certificate: `sha256/…`. */
  readonly pins: readonly string[];
}

export class KnownRelays {
  private readonly clock: Clock;
  private readonly heard = new Map<string, { readonly relay: ClusterRelay; readonly at: number }>();
  /** URLs of others that were this one's, too. */
  private readonly shared = new Set<string>();
  /** Since when nobody can be heard, by the clock, ms: nobody is silent meanwhile. */
  private awayAt: number | undefined;
  private timer: Timer | undefined;
  private readonly unsubscribe: () => void;

  constructor(
    private readonly bus: Bus,
    private readonly cluster: string,
    private readonly own: () => ClusterRelay,
    private readonly onShared: (url: string) => void,
    clock?: Clock,
  ) {
    this.clock = clock ?? systemClock;
    this.unsubscribe = bus.subscribe(relaysSubject(cluster), ({ data }) => this.handleBeat(data));
    bus.onState(() => this.handleState());
    this.handleState();
  }

  /** This relay is there from now on. */
  begin(): void {
    this.bus.onState(() => this.beat());
    this.beatOn();
  }

  /** Relays besides this one: several workers of a relay are one. */
  get otherIds(): ReadonlySet<string> {
    const { id } = this.own();
    return new Set(this.others.flatMap((relay) => (relay.id === id ? [] : [relay.id])));
  }

  /** Processes besides this one; while the bus is away, those that were there when it was lost. */
  get others(): readonly ClusterRelay[] {
    const now = this.awayAt ?? this.clock.now();
    const { node } = this.own();
    const present = [...this.heard.values()].filter(({ relay, at }) => relay.node !== node && now - at < SILENT_MS);
    return present.map(({ relay }) => relay);
  }

  /** Whether another relay has said that it is reached by that URL, whether it is still there or not. */
  isShared(url: string): boolean {
    return this.shared.has(url);
  }

  close(): void {
    this.clock.clearTimeout(this.timer);
    this.unsubscribe();
    this.bus.publish(relaysSubject(this.cluster), encode({ node: this.own().node, gone: true }));
  }

  private beatOn(): void {
    this.beat();
    this.timer = this.clock.setTimeout(() => this.beatOn(), BEAT_MS).unref();
  }

  private beat(): void {
    this.bus.publish(relaysSubject(this.cluster), encode(this.own()));
  }

  private handleState(): void {
    const now = this.clock.now();
    if (this.bus.state.connectedSince === undefined) {
      this.awayAt ??= now;
      return;
    }
    const passed = now - (this.awayAt ?? now);
    this.awayAt = undefined;
    for (const [node, { relay, at }] of this.heard) this.heard.set(node, { relay, at: at + passed });
  }

  private handleBeat(data: Uint8Array): void {
    const beat = decode(data);
    const { node } = this.own();
    if (beat === undefined || beat.node === node) return;
    const isNew = !this.heard.has(beat.node);
    this.heard.delete(beat.node);
    if (beat.relay === undefined) return;
    this.heard.set(beat.node, { relay: beat.relay, at: this.clock.now() });
    const { id, url } = this.own();
    if (beat.relay.url === url && beat.relay.id !== id) this.noteShared(url);
    for (const [oldest] of this.heard) {
      if (this.heard.size <= MAX_RELAYS) break;
      this.heard.delete(oldest);
    }
    // It has not heard of this one yet.
    if (isNew) this.beat();
  }

  /** Exits that are called to this relay may come to the other one. */
  private noteShared(url: string): void {
    if (this.shared.has(url)) return;
    this.shared.add(url);
    this.onShared(url);
  }
}

function encode(beat: object): Uint8Array {
  return Buffer.from(JSON.stringify(beat));
}

interface Beat {
  readonly node: string;
  /** Undefined: it has gone. */
  readonly relay: ClusterRelay | undefined;
}

function decode(data: Uint8Array): Beat | undefined {
  try {
    const { gone, ...said } = JSON.parse(Buffer.from(data).toString('utf8')) as Record<string, unknown>;
    const node = String(said.node);
    if (!NODE.test(node)) return undefined;
    return { node, relay: gone === true ? undefined : relayIn(said) };
  } catch {
    return undefined;
  }
}

/** What another relay says of itself. @throws if it has another form */
function relayIn(said: Readonly<Record<string, unknown>>): ClusterRelay {
  if (!ID.test(String(said.id))) throw new TypeError('no relay');
  return { ...dialledIn(said), id: String(said.id) };
}

/** What is needed to dial it. @throws if it has another form */
export function dialledIn({ node, url, pins }: Readonly<Record<string, unknown>>): Omit<ClusterRelay, 'id'> {
  if (!NODE.test(String(node)) || !Array.isArray(pins)) throw new TypeError('no relay');
  return { node: String(node), url: parseRelayUrl(String(url)), pins: pins.slice(0, MAX_PINS).map(String) };
}
