/**
 * Two sessions with one link between them that has a rate and a delay, in virtual time: for what datagrams and streams
 * wait for each other. What waits for the path is a queue without a bound, as in a modem.
 */
import type { MuxEvent } from '../../../src/mux/events.ts';
import { TARGET } from './mux-peer.ts';
import { OneLinkSession } from './one-link-session.ts';

/** What a message has beside its record on the way, bytes: tag, WebSocket, TLS, TCP and IP. */
const OVERHEAD_BYTES = 90;

interface PathOptions {
  /** Each way. */
  readonly bytesPerMs: number;
  readonly oneWayMs: number;
}

interface OnItsWay {
  readonly at: number;
  readonly message: Buffer;
}

export class PathEnd {
  readonly session: OneLinkSession;
  /** Called for each event but `data` and `writable`. */
  onEvent: (event: MuxEvent, now: number) => void = () => {};
  onData: (stream: number, bytes: number, now: number) => void = () => {};
  /** Called when more may be written to the stream. */
  onWritable: (stream: number, now: number) => void = () => {};
  readonly arriving: OnItsWay[] = [];
  private freeAt = 0;

  constructor(
    readonly role: 'client' | 'exit',
    private readonly path: PathOptions,
  ) {
    this.session = OneLinkSession.of({ role });
    this.session.attach(0, 0, 0);
  }

  receive(now: number): void {
    for (let next = this.arriving[0]; next !== undefined && next.at <= now; next = this.arriving[0]) {
      this.arriving.shift();
      this.session.receive([next.message], now);
      this.handleEvents(now);
    }
  }

  private handleEvents(now: number): void {
    const { mux } = this.session;
    for (let event = mux.pollEvent(); event !== undefined; event = mux.pollEvent()) {
      if (event.type === 'writable') this.onWritable(event.stream, now);
      else if (event.type === 'data') {
        mux.consume(event.stream, event.bytes.length, now);
        this.onData(event.stream, event.bytes.length, now);
      } else this.onEvent(event, now);
    }
  }

  /** What may go now, goes. */
  send(to: PathEnd, now: number): void {
    for (let record = this.session.pollMessage(now); record !== undefined; record = this.session.pollMessage(now)) {
      const message = Buffer.concat(record);
      this.freeAt = Math.max(this.freeAt, now) + (message.length + OVERHEAD_BYTES) / this.path.bytesPerMs;
      to.arriving.push({ at: this.freeAt + this.path.oneWayMs, message });
    }
    this.handleEvents(now);
  }

  get nextAt(): number {
    const { session } = this;
    return Math.min(
      this.arriving[0]?.at ?? Number.POSITIVE_INFINITY,
      session.nextTimeout(),
      session.acknowledgementAt(),
    );
  }
}

export class DatagramPath {
  readonly client: PathEnd;
  readonly exit: PathEnd;
  now = 0;
  private readonly due: { readonly at: number; readonly act: () => void }[] = [];

  constructor(path: PathOptions) {
    this.client = new PathEnd('client', path);
    this.exit = new PathEnd('exit', path);
    this.exit.onEvent = (event) => {
      if (event.type === 'offer') this.exit.session.mux.accept(event.stream, this.now);
    };
    // Both greet.
    this.at(0, () => {});
  }

  at(at: number, act: () => void): void {
    const later = this.due.findIndex((other) => other.at > at);
    this.due.splice(later < 0 ? this.due.length : later, 0, { at, act });
  }

  /** Until that time; what happens at once is handled in one turn, as an event loop does. */
  run(until: number): void {
    while (this.now < until) {
      const next = Math.min(this.due[0]?.at ?? Number.POSITIVE_INFINITY, this.client.nextAt, this.exit.nextAt, until);
      this.now = Math.max(this.now + 0.01, next);
      while ((this.due[0]?.at ?? Number.POSITIVE_INFINITY) <= this.now) this.due.shift()?.act();
      for (const end of [this.client, this.exit]) {
        end.receive(this.now);
        end.session.handleTimeout(this.now);
      }
      this.client.send(this.exit, this.now);
      this.exit.send(this.client, this.now);
    }
  }

  /** A stream of the client's that is open at both ends. */
  open(service: 'tcp' | 'udp' = 'tcp'): number {
    const opened = this.client.session.mux.open(TARGET, this.now, { service });
    if (!('stream' in opened)) throw new Error(`not opened: ${JSON.stringify(opened)}`);
    return opened.stream;
  }
}

/** Of sorted or unsorted values; `share` 0 to 1. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
