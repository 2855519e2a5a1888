/**
 * How the relays of a cluster reach each other's exits. Where an exit is registered is not stored: the relay that has
 * its control link subscribes to a subject of the exit, and that nobody subscribes is known at once. A relay that has a
 * client for it asks there who has the exit, and the first that answers has the exit dial to that relay: NATS takes
 * minutes to notice that another one hangs, or was cut off. Where the exit cannot, its own relay dials, and forwards
 * between the two. Nothing of what sessions hold goes over the bus.
 */
import { type Clock, systemClock } from '../clock.ts';
import { isName } from '../crypto/names.ts';
import type { Logger } from '../observability/logger.ts';
import type { Call, CallOutcome, Rendezvous, RendezvousHandler } from '../relay/rendezvous.ts';
import type { MessageLink } from '../transport/message-link.ts';
import type { Bus, BusMessage } from './bus.ts';
import type { ExitKeys } from './exit-keys.ts';
import { type ClusterRelay, dialledIn } from './known-relays.ts';
import { callsSubject, exitSubject } from './names.ts';

/** For each of two answers of other relays: a round trip on the bus, while a client is held for 8 s. */
const ANSWER_MS = 1_500;
/** Links to other relays that are being dialled for exits of this one. */
const MAX_DIALS = 256;
/** How long an exit that could not come to a relay is not sent there again. */
const UNREACHED_MS = 10 * 60_000;
/** Calls that exits may still say they cannot answer, and pairs of exit and relay that are remembered. */
const MAX_REMEMBERED = 4_096;
/** docs/protocol.md §11. */
const TOKEN = /^[0-9a-f]{32}$/;
const NODE = /^[0-9a-f]{8}$/;
const NOTHING = new Uint8Array(0);

export interface ClusterRendezvousOptions {
  readonly bus: Bus;
  readonly cluster: string;
  readonly own: () => ClusterRelay;
  readonly keys: Pick<ExitKeys, 'share' | 'repeat'>;
  /** A link to that relay, as the exit's answer to a call with that token. Rejects after a time limit. */
  readonly dialAs: (exit: string, relay: DialledRelay, token: string) => Promise<MessageLink>;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export type DialledRelay = Pick<ClusterRelay, 'url' | 'pins'>;

interface RemoteCall extends DialledRelay {
  readonly exit: string;
  readonly node: string;
  readonly token: string;
}

export class ClusterRendezvous implements Rendezvous {
  readonly hasOthers = true;
  readonly tokenPrefix: string;
  private readonly clock: Clock;
  private handler: RendezvousHandler | undefined;
  private dials = 0;
  /** Calls that exits of this relay were sent for others, by token; the oldest first. */
  private readonly sent = new Map<string, RemoteCall>();
  /** Exit and URL of a relay to when it is not to be sent there again, by the clock, ms. */
  private readonly unreached = new Map<string, number>();

  constructor(private readonly options: ClusterRendezvousOptions) {
    const { bus, cluster, own, clock = systemClock } = options;
    const { node } = own();
    this.tokenPrefix = node;
    this.clock = clock;
    bus.subscribe(callsSubject(cluster, node), (message) => this.handleCall(message));
  }

  setHandler(handler: RendezvousHandler): void {
    this.handler = handler;
    this.repeatKeys();
  }

  /** What another relay has stored of an exit. */
  handleKeys(exit: string, keys: readonly string[]): void {
    this.handler?.handleKeys(exit, keys);
  }

  announce(exit: string): () => void {
    const { bus, cluster } = this.options;
    const node = Buffer.from(this.tokenPrefix);
    return bus.subscribe(exitSubject(cluster, exit), (message) => message.respond(node));
  }

  /** An exit may be registered at each of them. */
  isElsewhere(): boolean {
    return false;
  }

  shareKeys(exit: string, keys: readonly string[]): void {
    this.options.keys.share(exit, keys);
  }

  repeatKeys(): void {
    this.options.keys.repeat();
  }

  async call(exit: string, token: string): Promise<CallOutcome> {
    const { bus, cluster, own } = this.options;
    const { node, url, pins } = own();
    const first = await bus.request(exitSubject(cluster, exit), NOTHING, ANSWER_MS);
    if (first === 'nobody') return 'absent';
    const there = first === 'away' ? '' : Buffer.from(first).toString('latin1');
    if (!NODE.test(there)) return 'unreachable';
    const call: RemoteCall = { exit, node, url, pins, token };
    const answer = await bus.request(callsSubject(cluster, there), encode(call), ANSWER_MS);
    if (answer === 'nobody') return 'absent';
    return answer === 'away' ? 'unreachable' : outcomeIn(answer);
  }

  /** Each relay has a URL of its own, at which no other one answers. */
  isOthers(): boolean {
    return false;
  }

  passAnswer(_exit: string, _token: string, link: MessageLink): void {
    link.abort();
  }

  noteUnreached(exit: string, token: string): void {
    const call = this.sent.get(token);
    if (call?.exit !== exit) return;
    this.sent.delete(token);
    this.unreached.delete(pairOf(exit, call.url));
    this.unreached.set(pairOf(exit, call.url), this.clock.now() + UNREACHED_MS);
    dropOldest(this.unreached);
    void this.bridge(call);
  }

  /** Another relay has a client for an exit of this one. */
  private handleCall(message: BusMessage): void {
    const call = decode(message.data);
    if (call === undefined) return;
    const { exit } = call;
    const respond = (outcome: CallOutcome) => message.respond(Buffer.from(JSON.stringify({ outcome })));
    const wanted: Call = { token: call.token, relay: call.url };
    const outcome = this.isUnreached(exit, call.url)
      ? 'unreachable'
      : (this.handler?.handleCall(exit, wanted) ?? 'absent');
    if (outcome !== 'unreachable') {
      this.sent.set(call.token, call);
      dropOldest(this.sent);
      return respond(outcome);
    }
    // It is of an older version, or has no way to that relay.
    respond(this.dials < MAX_DIALS ? 'called' : 'unreachable');
    void this.bridge(call);
  }

  /** Goes to the other relay in the exit's place: there its client is joined with this link, and here with the exit. */
  private async bridge({ exit, node, url, pins, token }: RemoteCall): Promise<void> {
    const { dialAs, logger } = this.options;
    if (this.dials >= MAX_DIALS) return;
    this.dials += 1;
    try {
      const link = await dialAs(exit, { url, pins }, token);
      if (this.handler === undefined) link.close();
      else this.handler.handleForward(exit, link, `relay-${node}`);
    } catch (error) {
      logger.info({ exit, relay: url, reason: String(error) }, 'another relay of the cluster could not be reached');
    } finally {
      this.dials -= 1;
    }
  }

  private isUnreached(exit: string, url: string): boolean {
    return (this.unreached.get(pairOf(exit, url)) ?? Number.NEGATIVE_INFINITY) > this.clock.now();
  }
}

function pairOf(exit: string, url: string): string {
  return `${exit} ${url}`;
}

function dropOldest(map: Map<string, unknown>): void {
  const [oldest] = map.keys();
  if (map.size > MAX_REMEMBERED && oldest !== undefined) map.delete(oldest);
}

function encode(call: RemoteCall): Uint8Array {
  return Buffer.from(JSON.stringify(call));
}

/** Undefined for anything else. */
function decode(data: Uint8Array): RemoteCall | undefined {
  try {
    const said = JSON.parse(Buffer.from(data).toString('utf8')) as Record<string, unknown>;
    const { node, url, pins } = dialledIn(said);
    const [exit, token] = [String(said.exit), String(said.token)];
    return isName(exit) && TOKEN.test(token) ? { exit, node, url, pins, token } : undefined;
  } catch {
    return undefined;
  }
}

function outcomeIn(answer: Uint8Array): CallOutcome {
  try {
    const { outcome } = JSON.parse(Buffer.from(answer).toString('utf8')) as { readonly outcome?: unknown };
    return outcome === 'called' || outcome === 'absent' ? outcome : 'unreachable';
  } catch {
    return 'unreachable';
  }
}
