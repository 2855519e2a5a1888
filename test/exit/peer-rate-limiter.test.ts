import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { EntryLimiter } from '../../src/exit/peer-rate-limiter.ts';

/** Remembers what came, and can go away. */
class Sink {
  readonly pieces: Uint8Array[] = [];
  gone = false;
  get bytes(): number {
    return this.pieces.reduce((sum, { length }) => sum + length, 0);
  }
  deliver(piece: Uint8Array): void {
    this.pieces.push(piece);
  }
  isGone(): boolean {
    return this.gone;
  }
}

/** 100,000 bytes a second. */
const RATE = 800_000;
let rate: number | undefined;
const numbered = (length: number) => Uint8Array.from({ length }, (_, at) => at % 251);

function limiters(): EntryLimiter {
  return new EntryLimiter((peer) => (peer === 'alice' ? rate : undefined));
}

beforeEach(() => {
  rate = RATE;
  vi.useFakeTimers();
});
afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

it('EntryLimiter delivers a chunk whole and at once without a rate', () => {
  const sink = new Sink();
  const chunk = numbered(262_144);
  limiters().hold('bob').fromSocket.send(chunk, sink);
  expect(sink.pieces).toEqual([chunk]);
});

it('EntryLimiter delivers everything in order and at the rate', async () => {
  const sink = new Sink();
  const chunk = numbered(100_000);
  limiters().hold('alice').fromSocket.send(chunk, sink);
  await vi.advanceTimersByTimeAsync(500);
  expect(sink.bytes).toBeGreaterThan(40_000);
  expect(sink.bytes).toBeLessThan(60_000);
  await vi.advanceTimersByTimeAsync(600);
  expect(Buffer.concat(sink.pieces).equals(chunk)).toBe(true);
});

it('EntryLimiter gives streams of one entry equal shares, and each direction its own rate', async () => {
  const alice = limiters().hold('alice');
  const sinks = [new Sink(), new Sink(), new Sink(), new Sink()];
  for (const sink of sinks) alice.fromSocket.send(numbered(100_000), sink);
  const upload = new Sink();
  alice.toSocket.send(numbered(100_000), upload);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(upload.bytes).toBeGreaterThan(90_000);
  for (const { bytes } of sinks) expect(Math.abs(bytes - 25_000)).toBeLessThanOrEqual(16_384);
  await vi.advanceTimersByTimeAsync(4_000);
  for (const { bytes } of sinks) expect(bytes).toBe(100_000);
});

it('EntryLimiter skips a stream that is gone, at no cost for the others', async () => {
  const { fromSocket } = limiters().hold('alice');
  const [gone, other] = [new Sink(), new Sink()];
  fromSocket.send(numbered(1_000_000), gone);
  fromSocket.send(numbered(50_000), other);
  gone.gone = true;
  await vi.advanceTimersByTimeAsync(600);
  expect(other.bytes).toBe(50_000);
});

it('EntryLimiter follows a new rate, and its removal, while streams wait', async () => {
  rate = 8_000;
  const sink = new Sink();
  limiters().hold('alice').fromSocket.send(numbered(1_000_000), sink);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sink.bytes).toBeLessThan(6_000);
  rate = RATE;
  await vi.advanceTimersByTimeAsync(1_250);
  expect(sink.bytes).toBeGreaterThan(90_000);
  rate = undefined;
  await vi.advanceTimersByTimeAsync(250);
  expect(sink.bytes).toBe(1_000_000);
});

it('EntryLimiter keeps the bucket of an entry without streams for a while, and then forgets it', () => {
  const all = limiters();
  const first = all.hold('alice', 0);
  expect(all.hold('alice', 0)).toBe(first);
  all.release('alice', 1_000);
  all.release('alice', 2_000);
  expect(all.hold('alice', 11_999)).toBe(first);
  for (let i = 0; i < 10_000; i++) {
    all.hold(`name ${i}`, 12_000 + i);
    all.release(`name ${i}`, 12_000 + i);
  }
  all.hold('bob', 60_000);
  expect(all.size).toBe(2);
  expect(all.hold('alice', 60_000)).toBe(first);
});

it('EntryLimiter passes datagrams at the rate, drops what is beyond, and lets none wait', () => {
  const { toSocket } = limiters().hold('alice');
  let passed = 0;
  for (let ms = 0; ms < 2_000; ms++) {
    // Five times the rate.
    if (toSocket.passes(500)) passed += 500;
    vi.advanceTimersByTime(1);
  }
  expect(passed).toBeGreaterThan(190_000);
  expect(passed).toBeLessThan(215_000);
  expect(limiters().hold('bob').toSocket.passes(65_507)).toBe(true);
});

it('EntryLimiter passes a datagram that is larger than the burst, and then nothing until its time has passed', () => {
  const { toSocket } = limiters().hold('alice');
  expect(toSocket.passes(60_000)).toBe(true);
  vi.advanceTimersByTime(500);
  expect(toSocket.passes(100)).toBe(false);
  vi.advanceTimersByTime(150);
  expect(toSocket.passes(100)).toBe(true);
});

it('EntryLimiter gives streams half of the rate beside a flood of datagrams, and both together no more than the rate', async () => {
  const alice = limiters().hold('alice');
  const sink = new Sink();
  alice.toSocket.send(numbered(1_000_000), sink);
  let datagrams = 0;
  for (let ms = 0; ms < 4_000; ms++) {
    if (alice.toSocket.passes(500)) datagrams += 500;
    await vi.advanceTimersByTimeAsync(1);
  }
  sink.gone = true;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sink.bytes).toBeGreaterThan(170_000);
  expect(datagrams).toBeGreaterThan(170_000);
  expect(sink.bytes + datagrams).toBeLessThan(430_000);
});
