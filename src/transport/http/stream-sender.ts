/**
 * One direction of an HTTP link at its sender: keeps all bytes until the other end has them. What is appended is
 * copied, so that its pieces are given back at once, and small messages lie together: one write sends many. Pure.
 */
import { type Piece, releaseAll } from '../../memory/pieces.ts';
import { BLOCK_HEADER_BYTES, type BlockType, writeBlockHeader } from './blocks.ts';

const LARGEST_CHUNK_BYTES = 65_536;
const SMALLEST_CHUNK_BYTES = 1_024;

/** Of all links, for reuse: unreferenced memory costs the collector more than its copy does. 1 MiB. */
const MAX_SPARE_CHUNKS = 16;
const spareChunks: Uint8Array[] = [];

/** Bytes that were written are not changed while a request that is under way may read them. */
interface Chunk {
  /** Offset of its first byte in the stream. */
  readonly start: number;
  readonly memory: Uint8Array;
  used: number;
  /** Views that were not given back. */
  readers: number;
  isAcknowledged: boolean;
}

/** Bytes of the stream as they lie in memory. */
export interface StreamView {
  readonly pieces: readonly Uint8Array[];
  /** Nothing reads them any more. Optional: then the collector frees them. */
  release(): void;
}

export class StreamSender {
  /** The oldest first; those before the acknowledged offset are gone. */
  private readonly chunks: Chunk[] = [];
  private acknowledgedAt = 0;
  private endAt = 0;
  private readonly header = new Uint8Array(BLOCK_HEADER_BYTES);

  /** The offset after the last byte. */
  get end(): number {
    return this.endAt;
  }

  /** The other end has all bytes before this offset. */
  get acknowledged(): number {
    return this.acknowledgedAt;
  }

  get retainedBytes(): number {
    return this.endAt - this.acknowledgedAt;
  }

  /** @param bytes of all pieces */
  appendMessage(message: readonly Piece[], bytes: number): void {
    this.appendHeader('message', bytes, BLOCK_HEADER_BYTES + bytes);
    for (const piece of message) this.append(piece, piece.length);
    releaseAll(message);
  }

  appendClose(status: number): void {
    this.appendHeader('close', 2, BLOCK_HEADER_BYTES + 2);
    this.append(Uint8Array.of(status >>> 8, status & 0xff), 2);
  }

  /** @param bytes of the whole block, 4 at least */
  appendPadding(bytes: number): void {
    const content = bytes - BLOCK_HEADER_BYTES;
    this.appendHeader('padding', content, bytes);
    if (content > 0) this.append(new Uint8Array(content), content);
  }

  /** False: the other end cannot have so much. What it had before has no effect. */
  acknowledge(offset: number): boolean {
    if (offset > this.endAt) return false;
    if (offset <= this.acknowledgedAt) return true;
    this.acknowledgedAt = offset;
    let gone = 0;
    for (const { start, used } of this.chunks) {
      if (start + used > offset) break;
      gone += 1;
    }
    for (const chunk of this.chunks.splice(0, gone)) {
      chunk.isAcknowledged = true;
      keepSpare(chunk);
    }
    return true;
  }

  /** The bytes from one offset to another. Both are between `acknowledged` and `end`. */
  view(from: number, to: number): StreamView {
    const pieces: Uint8Array[] = [];
    const chunks: Chunk[] = [];
    for (const chunk of this.chunks) {
      const { start, memory, used } = chunk;
      if (start >= to) break;
      if (start + used <= from) continue;
      pieces.push(memory.subarray(Math.max(0, from - start), Math.min(used, to - start)));
      chunks.push(chunk);
      chunk.readers += 1;
    }
    const release = (): void => {
      for (const chunk of chunks.splice(0)) {
        chunk.readers -= 1;
        keepSpare(chunk);
      }
    };
    return { pieces, release };
  }

  private appendHeader(type: BlockType, length: number, room: number): void {
    writeBlockHeader(this.header, type, length);
    this.append(this.header, room);
  }

  /** @param wanted so much is going to be appended, these bytes included */
  private append(bytes: Uint8Array, wanted: number): void {
    let at = 0;
    while (at < bytes.length) {
      const chunk = this.chunkFor(wanted - at);
      const part = bytes.subarray(at, at + chunk.memory.length - chunk.used);
      chunk.memory.set(part, chunk.used);
      chunk.used += part.length;
      this.endAt += part.length;
      at += part.length;
    }
  }

  private chunkFor(bytes: number): Chunk {
    const last = this.chunks.at(-1);
    if (last !== undefined && last.used < last.memory.length) return last;
    // Only large ones are used again, and a busy link has many.
    let size = this.retainedBytes >= LARGEST_CHUNK_BYTES / 2 ? LARGEST_CHUNK_BYTES : SMALLEST_CHUNK_BYTES;
    while (size < bytes && size < LARGEST_CHUNK_BYTES) size *= 2;
    const spare = size === LARGEST_CHUNK_BYTES ? spareChunks.pop() : undefined;
    const memory = spare ?? new Uint8Array(size);
    const chunk = { start: this.endAt, memory, used: 0, readers: 0, isAcknowledged: false };
    this.chunks.push(chunk);
    return chunk;
  }
}

/** Only if nobody reads it; a view that is never given back keeps it from that. */
function keepSpare({ memory, readers, isAcknowledged }: Chunk): void {
  const isSpare = isAcknowledged && readers === 0 && memory.length === LARGEST_CHUNK_BYTES;
  if (isSpare && spareChunks.length < MAX_SPARE_CHUNKS) spareChunks.push(memory);
}
