/**
 * The sockets that a server for programs has accepted: their options, an error handler for each while it is served, and
 * how all of them end. What they are served with is not known here.
 */
import type { Socket } from 'node:net';
import { WstunError } from '../errors.ts';
import { resetSocket } from '../tunnel/stream/socket-reset.ts';
import type { StreamContext } from './program-connection.ts';

/** Of sockets that programs connect to: whoever listens for them passes these to Node. */
export const PROGRAM_SOCKETS = {
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  /** Silence before the kernel asks whether the program's machine still lives, ms; matters only beyond loopback. */
  keepAliveInitialDelay: 60_000,
  /** What a socket queues in each direction in this process, bytes: one large read. */
  highWaterMark: 64 * 1024,
} as const;

export class ServedSockets {
  /** A promise each that resolves when nothing of the socket is left. */
  private readonly open = new Map<Socket, Promise<void>>();

  /** @param onRoom one is gone */
  constructor(
    private readonly context: Pick<StreamContext, 'logger' | 'streams' | 'shutdown'>,
    private readonly onRoom: () => void = () => {},
  ) {}

  get size(): number {
    return this.open.size;
  }

  /** `serve` resolves when the socket is closed. */
  serve(socket: Socket, serve: (socket: Socket) => Promise<void>): void {
    // Code that waits for the socket listens for 'close', which follows.
    socket.on('error', () => {});
    const served = serve(socket).catch((error: unknown) => {
      this.context.logger.error({ error: String(error) }, 'a connection failed with an internal error');
      socket.destroy();
    });
    const removed = served.then(() => {
      this.open.delete(socket);
      this.onRoom();
    });
    this.open.set(socket, removed);
  }

  /** Gives them `graceMs`, then resets them. May be called again, to shorten the time. */
  async end(graceMs: number): Promise<void> {
    this.context.shutdown.begin();
    const limit = setTimeout(() => this.abortAll(), graceMs);
    await Promise.all(this.open.values());
    clearTimeout(limit);
  }

  private abortAll(): void {
    for (const stream of this.context.streams) stream.destroy(new WstunError('shutting-down'));
    for (const socket of this.open.keys()) resetSocket(socket);
  }
}
