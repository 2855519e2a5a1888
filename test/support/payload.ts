/** Bytes that can be checked: a sender's hash and a receiver's must be equal. Cheap enough for gigabytes. */
import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex, Readable, Writable } from 'node:stream';

const BLOCK_BYTES = 4 * 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;
/**
 * Odd, so that the same piece of the block comes again only after gigabytes: moved or doubled pieces change the hash.
 */
const STEP_BYTES = 40_503;

const BLOCK = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16)).update(Buffer.alloc(BLOCK_BYTES));

/** The chunks of `bytes` in all; another `seed`, other bytes. */
export function* chunks(bytes: number, seed: number): Generator<Buffer> {
  for (let sent = 0, i = seed * 1009; sent < bytes; sent += CHUNK_BYTES, i++) {
    const at = (i * STEP_BYTES) % (BLOCK_BYTES - CHUNK_BYTES);
    yield BLOCK.subarray(at, at + Math.min(CHUNK_BYTES, bytes - sent));
  }
}

export function payload(bytes: number, seed = 0): Buffer {
  return Buffer.concat([...chunks(bytes, seed)]);
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Sends `bytes` and finishes the writing side; the hash of what was sent. */
export async function sendPayload(to: Writable, bytes: number, seed = 0): Promise<string> {
  const hash = createHash('sha256');
  for (const chunk of chunks(bytes, seed)) {
    hash.update(chunk);
    if (!to.write(chunk)) await once(to, 'drain');
  }
  to.end();
  return hash.digest('hex');
}

/** Sends without an end, for as long as the stream lives and its reader reads. */
export function sendEndlessly(to: Writable): void {
  let at = 0;
  const pump = (): void => {
    while (!to.destroyed && to.write(BLOCK.subarray(at, at + CHUNK_BYTES)))
      at = (at + STEP_BYTES) % (BLOCK_BYTES - CHUNK_BYTES);
  };
  to.on('drain', pump);
  pump();
}

export interface Received {
  readonly bytes: number;
  readonly hash: string;
}

/** Reads to the clean end; rejects if there is none. */
export function receive(from: Readable): Promise<Received> {
  const hash = createHash('sha256');
  let bytes = 0;
  from.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  return new Promise((resolve, reject) => {
    from.once('end', () => resolve({ bytes, hash: hash.digest('hex') }));
    from.once('close', () => reject(new Error(`cut off after ${bytes} bytes`)));
    from.resume();
  });
}

/** Both at once: sends, finishes, and reads to the clean end. */
export async function exchange(
  through: Duplex,
  bytes: number,
  seed = 0,
): Promise<{ sent: string; received: Received }> {
  const received = receive(through);
  const [sent] = await Promise.all([sendPayload(through, bytes, seed), received]);
  return { sent, received: await received };
}
