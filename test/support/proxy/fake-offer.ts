/**
 * A stream offered to an exit without a session behind it: the test holds the farEnd's end, and sees what the exit did.
 */
import { once } from 'node:events';
import { type Duplex, duplexPair } from 'node:stream';
import { type WireFaultName, WstunError } from '../../../src/errors.ts';
import type { Association, AssociationHandler, ServedListener, Service } from '../../../src/tunnel/stream/services.ts';
import type { OfferedStream, Target, TunnelStream } from '../../../src/tunnel/stream/stream.ts';

export class FakeOffer implements OfferedStream {
  readonly target: Target;
  readonly peer: string;
  /** The farEnd's end of the stream. */
  readonly farEnd: Duplex;
  /** In order: `accept`, `refuse FAULT`, `release`. */
  readonly calls: string[] = [];
  /** Resolve at the first call of each. */
  readonly accepted: Promise<void>;
  readonly refused: Promise<WireFaultName>;
  readonly released: Promise<void>;
  private readonly near: Duplex;
  private readonly abort = new AbortController();
  private handleAccepted: () => void = () => {};
  private handleRefused: (fault: WireFaultName) => void = () => {};
  private handleReleased: () => void = () => {};

  /** Of an association: what the exit has sent to the far end. */
  readonly datagrams: { readonly bytes: Uint8Array; readonly to: Target | undefined }[] = [];
  /** Of an association or a listener, once it is accepted. */
  handler: AssociationHandler | undefined;
  bound: Target | undefined;
  /** Of a listener: connections that the exit has offered to the far end, which takes them. */
  readonly connections: { readonly remote: Target; readonly farEnd: Duplex }[] = [];
  /** Undefined: it lets them wait. */
  takesConnections: boolean | undefined = true;
  /** How many connections it has let wait. */
  asked = 0;

  constructor(
    target: Target,
    peer = 'laptop',
    readonly service: Service = 'tcp',
  ) {
    this.target = target;
    this.peer = peer;
    [this.near, this.farEnd] = duplexPair({ allowHalfOpen: true });
    this.farEnd.on('error', () => {});
    this.accepted = new Promise((resolve) => {
      this.handleAccepted = resolve;
    });
    this.refused = new Promise((resolve) => {
      this.handleRefused = resolve;
    });
    this.released = new Promise((resolve) => {
      this.handleReleased = resolve;
    });
  }

  /** The session has no link. */
  isAway = false;

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  /** All that the exit's side sends, once it has finished. Leaves the other direction open, as `toArray` would not. */
  async receive(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    this.farEnd.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(this.farEnd, 'end');
    return Buffer.concat(chunks);
  }

  /** The farEnd gives the stream up. */
  abandon(): void {
    this.near.destroy();
    this.abort.abort();
    this.handler?.handleEnd(new WstunError('dial-cancelled'));
  }

  /** Whether the exit's end was destroyed before both directions had ended. */
  get wasCut(): boolean {
    return this.near.destroyed && !(this.near.readableEnded && this.near.writableFinished);
  }

  accept(): TunnelStream {
    this.calls.push('accept');
    this.handleAccepted();
    return Object.assign(this.near, { target: this.target });
  }

  acceptAssociation(handler: AssociationHandler, bound?: Target): Association {
    this.calls.push('accept');
    this.handler = handler;
    this.bound = bound;
    this.handleAccepted();
    return {
      send: (bytes, to) => void this.datagrams.push({ bytes, to }),
      close: (fault) => void this.calls.push(fault === undefined ? 'close' : `close ${fault}`),
    };
  }

  acceptListener(bound: Target): ServedListener {
    this.calls.push('accept');
    this.bound = bound;
    this.handleAccepted();
    return {
      open: (remote, signal) => {
        if (this.takesConnections === false) return Promise.reject(new WstunError('dial-refused'));
        if (this.takesConnections === undefined) return this.letWait(signal);
        const [near, farEnd] = duplexPair({ allowHalfOpen: true });
        this.connections.push({ remote, farEnd });
        return Promise.resolve(Object.assign(near, { target: remote }));
      },
      close: (fault) => void this.calls.push(`close ${fault}`),
    };
  }

  private letWait(signal: AbortSignal): Promise<TunnelStream> {
    this.asked++;
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(new WstunError('dial-cancelled')), { once: true });
    });
  }

  refuse(fault: WireFaultName): void {
    this.calls.push(`refuse ${fault}`);
    this.handleRefused(fault);
  }

  release(): void {
    this.calls.push('release');
    this.handleReleased();
  }
}

export function nameTarget(host: string, port: number): Target {
  return { kind: 'name', name: host, port };
}
