/**
 * A client's session without a link, an exit or a network: the test is the far end of its listeners and of its
 * resolver. Streams are pairs in memory.
 */
import { type Duplex, duplexPair } from 'node:stream';
import { framed, MessageReader } from '../../../src/dns/framing.ts';
import { type FaultName, type WireFaultName, WstunError } from '../../../src/errors.ts';
import type {
  Association,
  AssociationHandler,
  ListenerHandler,
  ListenerOpener,
  ResolverOpener,
  TunnelListener,
} from '../../../src/tunnel/stream/services.ts';
import type { OfferedStream, Target, TunnelStream } from '../../../src/tunnel/stream/stream.ts';

export const ipTarget = (ip: string, port: number): Target => ({
  ...{ kind: 'ip', port },
  ip: Uint8Array.from(ip.split('.').map(Number)),
});

/** Both ends of a stream; as in a session, one that is destroyed resets the other. */
function streamPair(): [near: Duplex, far: Duplex] {
  const [near, far] = duplexPair({ allowHalfOpen: true });
  for (const [one, other] of [
    [near, far],
    [far, near],
  ] as const) {
    one.on('error', () => {});
    one.on('close', () => {
      if (!(one.readableEnded && one.writableFinished)) other.destroy(new WstunError('target-reset'));
    });
  }
  return [near, far];
}

/** What the far end does with a question: returns its answers, now or later. */
type Answers = (query: Buffer) => Uint8Array | undefined | Promise<Uint8Array | undefined>;

/** Opens resolver streams, and answers on them. */
export class FakeResolver implements ResolverOpener {
  /** All queries of all streams, in order. */
  readonly queries: Buffer[] = [];
  /** The far ends of the streams. */
  readonly streams: Duplex[] = [];
  opened = 0;
  /** With what every further attempt is rejected; `silence`: never answered. */
  fault: FaultName | 'silence' | undefined;

  constructor(public answers: Answers) {}

  async openResolver(signal: AbortSignal): Promise<TunnelStream> {
    this.opened++;
    if (this.fault === 'silence')
      await new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new WstunError('dial-cancelled'))),
      );
    else if (this.fault !== undefined) throw new WstunError(this.fault);
    const [near, far] = streamPair();
    this.streams.push(far);
    const reader = new MessageReader();
    far.on('data', (bytes: Buffer) => {
      for (const query of reader.receive(bytes)) void this.answer(Buffer.from(query), far);
    });
    return Object.assign(near, { target: ipTarget('0.0.0.0', 0) });
  }

  private async answer(query: Buffer, far: Duplex): Promise<void> {
    this.queries.push(query);
    const answer = await this.answers(query);
    if (answer !== undefined && !far.destroyed) far.write(framed(answer));
  }
}

/** A connection that a listener has accepted, as the session offers it; the test holds the far end. */
export class FakeConnection implements OfferedStream {
  readonly service = 'accepted';
  readonly peer = '';
  readonly farEnd: Duplex;
  /** In order: `accept`, `refuse FAULT`, `release`. */
  readonly calls: string[] = [];
  private readonly near: Duplex;
  private readonly abort = new AbortController();

  constructor(readonly target: Target) {
    [this.near, this.farEnd] = streamPair();
  }

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  abandon(): void {
    this.abort.abort();
  }

  accept(): TunnelStream {
    this.calls.push('accept');
    return Object.assign(this.near, { target: this.target });
  }

  refuse(fault: WireFaultName): void {
    this.calls.push(`refuse ${fault}`);
  }

  release(): void {
    this.calls.push('release');
  }

  acceptAssociation(): Association {
    throw new TypeError('this is a connection');
  }

  acceptListener(): never {
    throw new TypeError('this is a connection');
  }
}

export class FakeListener {
  isClosed = false;

  constructor(
    readonly address: Target,
    readonly bound: Target,
    readonly handler: ListenerHandler,
  ) {}

  /** Someone connects at the exit. */
  connect(from = ipTarget('198.51.100.7', 50_000)): FakeConnection {
    const connection = new FakeConnection(from);
    this.handler.handleConnection(connection);
    return connection;
  }
}

export class FakeUdpListener {
  isClosed = false;
  readonly sent: { readonly bytes: Uint8Array; readonly to: Target | undefined }[] = [];

  constructor(
    readonly address: Target,
    readonly handler: AssociationHandler,
  ) {}
}

/** Opens listeners, one for each port, as an exit would. */
export class FakeListeners implements ListenerOpener {
  /** That are open, in the order in which they came. */
  readonly tcp: FakeListener[] = [];
  readonly udp: FakeUdpListener[] = [];
  attempts = 0;
  /** With what every further attempt is rejected; `silence`: there is no session, until the fault is taken away. */
  fault: FaultName | undefined;
  private nextPort = 8000;

  listenTcp(address: Target, handler: ListenerHandler, signal: AbortSignal): Promise<TunnelListener> {
    this.attempts++;
    if (this.fault !== undefined) return Promise.reject(new WstunError(this.fault));
    if (signal.aborted) return Promise.reject(new WstunError('dial-cancelled'));
    const listener = new FakeListener(address, this.bind(address), handler);
    this.tcp.push(listener);
    const close = () => {
      listener.isClosed = true;
      this.tcp.splice(this.tcp.indexOf(listener), 1);
    };
    return Promise.resolve({ bound: listener.bound, close });
  }

  listenUdp(address: Target, handler: AssociationHandler): Association {
    this.attempts++;
    const { fault } = this;
    if (fault === 'not-connected' || fault === 'service-unknown') throw new WstunError(fault);
    const listener = new FakeUdpListener(address, handler);
    if (fault !== undefined) queueMicrotask(() => handler.handleEnd(new WstunError(fault)));
    else {
      this.udp.push(listener);
      queueMicrotask(() => handler.handleOpened?.(this.bind(address)));
    }
    const close = () => {
      listener.isClosed = true;
      this.udp.splice(this.udp.indexOf(listener), 1);
    };
    return { send: (bytes, to) => void listener.sent.push({ bytes, to }), close };
  }

  /** The session is over, or the exit closes the listeners. */
  loseAll(fault: FaultName): void {
    for (const { handler } of this.tcp.splice(0)) handler.handleEnd(new WstunError(fault));
    for (const { handler } of this.udp.splice(0)) handler.handleEnd(new WstunError(fault));
  }

  private bind(address: Target): Target {
    const port = address.port === 0 ? this.nextPort++ : address.port;
    const isAny = address.kind === 'ip' && address.ip.every((byte) => byte === 0);
    return isAny || address.kind !== 'ip' ? ipTarget('192.0.2.1', port) : { ...address, port };
  }
}
