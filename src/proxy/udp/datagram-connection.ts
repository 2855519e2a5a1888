/**
 * A program's TCP connection that carries datagrams. Owns the connection and its association; what it reads is dropped
 * where UDP would drop it, so nothing waits.
 */
import type { Socket } from 'node:net';
import { LazyAssociation } from '../../tunnel/stream/lazy-association.ts';
import type { Target } from '../../tunnel/stream/stream.ts';
import { endWith, type ProxyContext, untilClosed } from '../program-connection.ts';
import { NOTHING } from '../socks-negotiation.ts';
import { type DatagramFrame, type DatagramFraming, INCOMPLETE } from './datagram-framing.ts';

/** Answers that the program has not read, bytes; further ones are dropped. A second at 4 Mbit/s. */
const MAX_UNREAD_BYTES = 512 * 1024;
/** What one UDP datagram can hold over IPv4 (RFC 768, RFC 791), bytes. A frame could say more. */
const MAX_DATA_BYTES = 65_507;

/** Resolves when the connection is closed: by the program, by the proxy's shutdown, or after a malformed frame. */
export async function serveDatagrams(socket: Socket, framing: DatagramFraming, context: ProxyContext): Promise<void> {
  const connection = new DatagramConnection(socket, framing, context);
  const leave = context.shutdown.watch(() => connection.end());
  await untilClosed(socket);
  leave();
}

class DatagramConnection {
  private target: Target | undefined;
  private association: LazyAssociation | undefined;
  private held: Buffer = Buffer.alloc(0);

  constructor(
    private readonly socket: Socket,
    private readonly framing: DatagramFraming,
    private readonly context: ProxyContext,
  ) {
    socket.on('data', (bytes: Buffer) => this.handleData(bytes));
    socket.once('end', () => this.end()).once('close', () => this.association?.close());
    socket.resume();
  }

  /** An association ends with its connection, as in RFC 1928 §7: a half-close is its end, too. */
  end(): void {
    this.association?.close();
    void endWith(this.socket, NOTHING, this.context.limits.lingerMs);
  }

  private handleData(bytes: Buffer): void {
    this.held = this.held.length === 0 ? bytes : Buffer.concat([this.held, bytes]);
    for (let frame = this.read(); frame !== INCOMPLETE; frame = this.read()) {
      if (frame.kind === 'datagram' && frame.data.length <= MAX_DATA_BYTES) this.send(frame.data, frame.target);
      if (frame.kind === 'request') this.target = frame.target;
      if (frame.kind !== 'malformed') continue;
      this.context.logger.debug({ fault: 'proxy-malformed' }, 'a program sent what is not a datagram');
      this.socket.destroy();
      return;
    }
  }

  /** Moves on to the frame that follows. */
  private read(): DatagramFrame {
    const frame = this.framing.read(this.held);
    if ('end' in frame) this.held = this.held.subarray(frame.end);
    return frame;
  }

  private send(data: Uint8Array, target: Target | undefined): void {
    const { context } = this;
    this.association ??= new LazyAssociation(context.opener, this.target, {
      handleDatagram: (bytes, from = this.target) => this.handleAnswer(bytes, from),
      handleFailed: (error) => context.associations.noteFailure(error),
    });
    this.association.send(data, target);
  }

  private handleAnswer(bytes: Uint8Array, from: Target | undefined): void {
    const { socket } = this;
    if (from === undefined || socket.destroyed || socket.writableEnded) return;
    if (socket.writableLength > MAX_UNREAD_BYTES) return;
    socket.cork();
    socket.write(this.framing.header(from, bytes.length));
    socket.write(bytes);
    socket.uncork();
  }
}
