/** Programs that ask over TCP (RFC 7766): many queries on a connection, answered in any order. Owns the connections. */
import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import { framed, MessageReader } from '../dns/framing.ts';
import type { Answerer } from './answerer.ts';

/** Connections at once; more are closed. */
export const MAX_CONNECTIONS = 128;
/** Queries of a connection whose answers it has not taken. Beyond, it is not read. */
const MAX_UNANSWERED = 64;
/** Without a query, ms (RFC 7766 §6.2.3). */
const IDLE_MS = 30_000;

export class TcpAskers {
  private readonly open = new Set<Socket>();

  constructor(
    private readonly answerer: Answerer,
    private readonly clock: Clock,
  ) {}

  accept(socket: Socket): void {
    this.open.add(socket);
    socket.on('close', () => this.open.delete(socket));
    socket.on('error', () => {});
    const asker = new TcpAsker(socket, this.answerer, this.clock);
    socket.on('data', (bytes: Buffer) => asker.receive(bytes));
  }

  close(): void {
    for (const socket of this.open) socket.destroy();
  }
}

class TcpAsker {
  private readonly reader = new MessageReader();
  private readonly unread: Uint8Array[] = [];
  private unanswered = 0;

  constructor(
    private readonly socket: Socket,
    private readonly answerer: Answerer,
    clock: Clock,
  ) {
    const limit = () => clock.setTimeout(() => this.handleIdle(), IDLE_MS).unref();
    let timer = limit();
    socket.on('data', () => {
      clock.clearTimeout(timer);
      timer = limit();
    });
    socket.on('close', () => clock.clearTimeout(timer));
    // A program may end its direction when it has asked.
    socket.on('end', () => this.endIfDone());
  }

  receive(bytes: Uint8Array): void {
    this.unread.push(...this.reader.receive(bytes));
    this.answerSome();
  }

  private answerSome(): void {
    while (this.unanswered < MAX_UNANSWERED) {
      const message = this.unread.shift();
      if (message === undefined) break;
      this.unanswered++;
      this.answerer.handle(message, { over: 'tcp', address: this.socket.remoteAddress ?? '' }, (answer) => {
        if (answer === undefined || this.socket.destroyed) this.handleAnswered();
        else this.socket.write(framed(answer), () => this.handleAnswered());
      });
    }
    if (this.unread.length > 0) this.socket.pause();
    else this.socket.resume();
  }

  private handleAnswered(): void {
    this.unanswered--;
    // Not within answerSome itself, which goes on.
    if (this.unread.length > 0) setImmediate(() => this.answerSome());
    this.endIfDone();
  }

  private endIfDone(): void {
    if (this.socket.readableEnded && this.unanswered === 0 && this.unread.length === 0) this.socket.end();
  }

  private handleIdle(): void {
    this.socket.destroy();
  }
}
