/** Bulk writing, and the header with which a stream of the load begins; shared by the target and the generator. */
import type { Socket } from 'node:net';
import { patternAt } from './pattern.ts';

/** D: the target sends so many bytes. U: it counts and checks so many. E: it sends back what comes. */
export type StreamKind = 'D' | 'U' | 'E';

export const HEADER_BYTES = 10;

export function encodeHeader(kind: StreamKind, tag: number, length: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(kind, 0, 'latin1');
  header[1] = tag;
  header.writeBigUInt64LE(BigInt(length), 2);
  return header;
}

export function decodeHeader(header: Buffer): { kind: string; tag: number; length: number } {
  return { kind: header.toString('latin1', 0, 1), tag: header[1] ?? 0, length: Number(header.readBigUInt64LE(2)) };
}

const WRITE_BYTES = 256 * 1024;

/** Writes `length` bytes of the pattern as fast as the socket takes them, then its FIN. */
export function pour(socket: Socket, tag: number, length: number): void {
  let at = 0;
  const more = (): void => {
    while (at < length) {
      const slice = patternAt(at, tag, Math.min(WRITE_BYTES, length - at));
      at += slice.length;
      // False only means that this much is above the mark: what the kernel took at once needs no wait.
      if (!socket.write(slice) && socket.writableLength > 0) return;
    }
    socket.off('drain', more);
    socket.end();
  };
  socket.on('drain', more);
  more();
}
