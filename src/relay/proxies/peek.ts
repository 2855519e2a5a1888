/** Reads the beginning of a connection before its server does, and puts back what is not the reader's. */
import type { Socket } from 'node:net';
import type { Clock } from '../../clock.ts';

/** What the first bytes are, and how many of them the server does not get. */
export interface Peeked<Found> {
  readonly found: Found;
  readonly length: number;
}

export interface Peek<Found> {
  readonly clock: Clock;
  /** Then the connection is closed, as it is for `malformed`. */
  readonly limitMs: number;
  /** @param bytes all that have come @param reads in so many pieces */
  read(bytes: Buffer, reads: number): Peeked<Found> | 'incomplete' | 'malformed';
  /** Not called if the connection ends before. */
  onFound(found: Found): void;
  /** Always, and before `onFound`. */
  onOver?(): void;
}

export function peek<Found>(socket: Socket, { clock, limitMs, read, onFound, onOver }: Peek<Found>): void {
  let bytes = Buffer.alloc(0);
  let reads = 0;
  const destroy = (): void => void socket.destroy();
  const expired = clock.setTimeout(destroy, limitMs).unref();
  const stop = (): void => {
    clock.clearTimeout(expired);
    socket.off('readable', onReadable).off('close', stop).off('error', ignore).off('end', destroy);
    onOver?.();
  };
  const onReadable = (): void => {
    for (let piece: Buffer | null = socket.read(); piece !== null; piece = socket.read()) {
      bytes = Buffer.concat([bytes, piece]);
      reads += 1;
    }
    const peeked = read(bytes, reads);
    if (peeked === 'incomplete') return;
    if (peeked === 'malformed') return destroy();
    stop();
    if (bytes.length > peeked.length) socket.unshift(bytes.subarray(peeked.length));
    onFound(peeked.found);
  };
  socket.on('readable', onReadable).on('close', stop).on('error', ignore).on('end', destroy);
}

/** What is wrong is said again by the close. */
function ignore(): void {}
