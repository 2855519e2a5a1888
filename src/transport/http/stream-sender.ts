/**
 * One direction of an HTTP link at its sender: keeps all bytes until the other end has them. What is appended is
 * copied, so that its pieces are given back at once, and small messages lie together: one write sends many. Pure.
 */
import { type Piece, releaseAll } from '../../memory/pieces.ts';
import { BLOCK_HEADER_BYTES, type BlockType, writeBlockHeader } from './blocks.ts';

const LARGEST_CHUNK_BYTES = 65_536;
const SMALLEST_CHUNK_BYTES = 1_024;

/** Bytes that were written are never changed: a request that is under way reads them later. */
interface Chunk {
  /** Offset of its first byte in the stream. */
  readonly start: number;
  readonly memory: Uint8Array;
  used: number;
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
    this.chunks.splice(0, gone);
    return true;
  }

  /** The bytes from one offset to another, as they lie in memory. Both are between `acknowledged` and `end`. */
  views(from: number, to: number): Uint8Array[] {
    const views: Uint8Array[] = [];
    for (const { start, memory, used } of this.chunks) {
      if (start >= to) break;
      if (start + used > from) views.push(memory.subarray(Math.max(0, from - start), Math.min(used, to - start)));
    }
    return views;
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
    let size = SMALLEST_CHUNK_BYTES;
    while (size < bytes && size < LARGEST_CHUNK_BYTES) size *= 2;
    const chunk = { start: this.endAt, memory: new Uint8Array(size), used: 0 };
    this.chunks.push(chunk);
    return chunk;
  }
}
