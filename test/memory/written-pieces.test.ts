import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { isOwned, own } from '../../src/memory/pieces.ts';
import { type ByteSink, WrittenPieces } from '../../src/memory/written-pieces.ts';
import { atEnd } from '../support/scope.ts';
import { until } from '../support/until.ts';

/** A stream whose kernel takes what it is told to take. */
class Sink implements ByteSink {
  writableLength = 0;
  destroyed = false;
  takesAtOnce = true;
  private done: (() => void)[] = [];

  write(piece: Uint8Array, written?: () => void): boolean {
    if (!this.takesAtOnce) this.writableLength += piece.length;
    this.done.push(written ?? (() => {}));
    return this.writableLength === 0;
  }

  takeAll(): void {
    this.writableLength = 0;
    for (const done of this.done.splice(0)) done();
  }

  /** The oldest write; the next is under way before its end is told, as with Node's streams. */
  takeOne(bytes: number): void {
    this.writableLength -= bytes;
    this.done.shift()?.();
  }
}

/** The memory of a piece: the piece itself cannot be asked once it is released. */
const piece = (length = 5_000): { bytes: Buffer; memory: ArrayBufferLike } => {
  const bytes = own(Buffer.allocUnsafeSlow(length).fill(7));
  return { bytes, memory: bytes.buffer };
};

describe('Pieces that were written to a stream', () => {
  it('a written piece is given back at once if the kernel takes it at once', () => {
    const { bytes, memory } = piece();
    expect(new WrittenPieces(new Sink()).write(bytes)).toBe(true);
    expect(memory.byteLength).toBe(0);
  });

  it('a written piece stays whole until the kernel has it, and is given back then even if nothing else is written', () => {
    const sink = new Sink();
    sink.takesAtOnce = false;
    const { bytes, memory } = piece();
    expect(new WrittenPieces(sink).write(bytes)).toBe(false);
    expect(bytes.every((byte) => byte === 7)).toBe(true);
    sink.takeAll();
    expect(memory.byteLength).toBe(0);
  });

  it('a written piece is given back even if bytes without an owner wait after it', () => {
    const sink = new Sink();
    sink.takesAtOnce = false;
    const written = new WrittenPieces(sink);
    const { bytes, memory } = piece();
    written.write(bytes);
    written.write(Buffer.from('behind'));
    sink.takeOne(5_000);
    expect([sink.writableLength, memory.byteLength]).toEqual([6, 0]);
  });

  it('written pieces are given back one by one after others that were released before their callback', () => {
    const sink = new Sink();
    const written = new WrittenPieces(sink);
    const atOnce = piece();
    written.write(atOnce.bytes);
    sink.takesAtOnce = false;
    const [first, second] = [piece(), piece()];
    written.write(first.bytes);
    written.write(second.bytes);
    sink.takeOne(0);
    const lengths = () => [atOnce, first, second].map(({ memory }) => memory.byteLength);
    expect(lengths()).toEqual([0, 5_000, 5_000]);
    sink.takeOne(5_000);
    expect(lengths()).toEqual([0, 0, 5_000]);
    sink.takeOne(5_000);
    expect(lengths()).toEqual([0, 0, 0]);
  });

  it('a written piece is left to the collector if the stream is destroyed: a system call may still read it', () => {
    const sink = new Sink();
    sink.takesAtOnce = false;
    const { bytes, memory } = piece();
    new WrittenPieces(sink).write(bytes);
    sink.destroyed = true;
    sink.takeAll();
    expect(memory.byteLength).toBe(5_000);
  });

  it('a written piece without an owner is not touched', () => {
    const bytes = Buffer.alloc(5_000, 7);
    expect(isOwned(bytes)).toBe(false);
    new WrittenPieces(new Sink()).write(bytes);
    expect(bytes.every((byte) => byte === 7)).toBe(true);
  });

  it('written pieces arrive unchanged through a socket whose reader is slow, and none is kept after that', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    atEnd(() => server.close());
    await once(server, 'listening');
    const near = connect((server.address() as { port: number }).port, '127.0.0.1');
    const [far] = (await once(server, 'connection')) as [Socket];
    atEnd(() => [near.destroy(), far.destroy()]);
    far.pause();
    const written = new WrittenPieces(near);
    const memories = Array.from({ length: 200 }, (_, i) => {
      const bytes = own(Buffer.allocUnsafeSlow(60_000).fill(i));
      written.write(bytes);
      return bytes.buffer;
    });
    expect(memories.at(-1)?.byteLength).toBe(60_000);
    near.end();
    let at = 0;
    for await (const chunk of far)
      for (const byte of chunk as Buffer) {
        if (byte !== Math.floor(at / 60_000)) throw new Error(`byte ${at} is ${byte}`);
        at += 1;
      }
    expect(at).toBe(200 * 60_000);
    await until(() => memories.every((memory) => memory.byteLength === 0));
  });
});
