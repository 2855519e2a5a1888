/**
 * A tunnel without a session: streams that are plain TCP connections to a server of the test, and dials that do as
 * told.
 */
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type FaultName, WstunError } from '../../../src/errors.ts';
import { own, type Piece } from '../../../src/memory/pieces.ts';
import { WrittenPieces } from '../../../src/memory/written-pieces.ts';
import { resetSocket } from '../../../src/tunnel/stream/socket-reset.ts';
import type { StreamOpener, Target, TunnelStream } from '../../../src/tunnel/stream/stream.ts';
import { FakeAssociations } from './fake-associations.ts';

const NOTHING = new Uint8Array(0);

/**
 * Behaves as the tunnel's streams do: resets are WstunErrors, memory has an owner, a socket's methods beyond Duplex are
 * missing.
 */
export class SocketStream extends Duplex implements TunnelStream {
  readonly target: Target;
  readonly socket: Socket;
  private readonly written: WrittenPieces;

  constructor(socket: Socket, target: Target) {
    super({ allowHalfOpen: true });
    this.target = target;
    this.socket = socket;
    this.written = new WrittenPieces(socket);
    this.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      if (!this.push(own(chunk))) socket.pause();
    });
    socket.on('end', () => this.push(null));
    socket.on('error', (cause) => this.destroy(new WstunError('target-reset', '', { cause })));
    socket.on('close', () => {
      if (!socket.readableEnded || !socket.writableFinished) this.destroy(new WstunError('link-lost'));
    });
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write(chunk: Buffer & Piece, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.written.write(chunk);
    this.socket.write(NOTHING, done);
  }

  override _final(done: () => void): void {
    this.socket.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.socket.readableEnded || !this.socket.writableFinished) resetSocket(this.socket);
    done(error);
  }
}

export class FakeOpener extends FakeAssociations implements StreamOpener {
  /** All that was asked for, in order. */
  readonly targets: Target[] = [];
  readonly signals: AbortSignal[] = [];
  readonly streams: SocketStream[] = [];
  /** What every dial rejects with from now on. */
  fault: FaultName | undefined;
  private readonly port: number;
  private held: Promise<void> | undefined;
  private release: () => void = () => {};

  /** Whatever the target, streams lead to this port of 127.0.0.1. */
  constructor(port = 0) {
    super();
    this.port = port;
  }

  /** Dials have no outcome until the function returned is called, or they are cancelled. */
  hold(): () => void {
    this.held = new Promise((resolve) => {
      this.release = resolve;
    });
    return this.release;
  }

  async open(target: Target, signal: AbortSignal): Promise<TunnelStream> {
    this.targets.push(target);
    this.signals.push(signal);
    await Promise.race([this.held ?? Promise.resolve(), aborted(signal)]);
    if (this.fault !== undefined) throw new WstunError(this.fault);
    const socket = connect({ host: '127.0.0.1', port: this.port, allowHalfOpen: true, noDelay: true });
    const stream = new SocketStream(socket, target);
    this.streams.push(stream);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', () => reject(new WstunError('dial-refused')));
    });
    return stream;
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const cancel = () => reject(new WstunError('dial-cancelled'));
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel, { once: true });
  });
}
