/** What comes on a connection, and how it ends. */
import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { endOf, type SocketEnd } from '../proxy/through-proxy.ts';

export interface Ending {
  readonly bytes: number;
  readonly hash: string;
  readonly end: SocketEnd;
}

/** Reads to the end, clean or not. */
export async function endingOf(socket: Socket): Promise<Ending> {
  const hash = createHash('sha256');
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  const end = await endOf(socket);
  return { bytes, hash: hash.digest('hex'), end };
}
