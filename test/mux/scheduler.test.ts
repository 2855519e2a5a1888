import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Scheduler } from '../../src/mux/scheduler.ts';
import { StreamState } from '../../src/mux/stream-state.ts';
import { TARGET } from '../support/mux/mux-peer.ts';

const QUANTUM = 1000;

/** Streams with bytes to send and one scheduler: what the writer does with them, without frames. */
class Line {
  readonly scheduler = new Scheduler<StreamState>();
  readonly streams: StreamState[] = [];
  readonly sent: number[] = [];
  /** The streams that were served, in order, with what they sent. */
  readonly turns: (readonly [stream: number, bytes: number])[] = [];

  stream(): number {
    const stream = new StreamState(this.streams.length, 'tcp', TARGET, 'open');
    stream.sendCredit = Number.MAX_SAFE_INTEGER;
    this.sent.push(0);
    return this.streams.push(stream) - 1;
  }

  write(index: number, bytes: number): void {
    const stream = this.streams[index]!;
    stream.queue.push(new Uint8Array(bytes));
    this.scheduler.add(stream);
  }

  /** One turn, cut to `room` as the end of a record would. */
  serve(room = Number.POSITIVE_INFINITY, quantum = QUANTUM): number | undefined {
    const stream = this.scheduler.next(quantum);
    if (!stream) return undefined;
    const bytes = Math.min(stream.queue.bytes, this.scheduler.turnBytes(stream), room);
    stream.queue.take(bytes, () => {});
    this.scheduler.endTurn(stream, bytes);
    this.sent[stream.id]! += bytes;
    this.turns.push([stream.id, bytes]);
    return stream.id;
  }
}

describe('Bulk streams', () => {
  it('bulk streams have equal shares in bytes wherever records cut their frames', () => {
    const rooms = fc.array(fc.integer({ min: 300, max: 1500 }), { minLength: 5, maxLength: 50 });
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 12 }), rooms, (count, cuts) => {
        const line = new Line();
        for (let i = 0; i < count; i++) line.write(line.stream(), 1_000_000);
        for (let i = 0; i < 400; i++) line.serve(cuts[i % cuts.length]);
        expect(Math.max(...line.sent) - Math.min(...line.sent)).toBeLessThanOrEqual(2.5 * QUANTUM);
      }),
    );
  });

  it('bulk streams have equal shares while the quantum changes with the path', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 512, max: 49_152 }), { minLength: 3, maxLength: 30 }), (quanta) => {
        const line = new Line();
        for (let i = 0; i < 5; i++) line.write(line.stream(), 60_000_000);
        for (let i = 0; i < 600; i++) line.serve(undefined, quanta[Math.floor(i / 5) % quanta.length]);
        expect(Math.max(...line.sent) - Math.min(...line.sent)).toBeLessThanOrEqual(2.5 * Math.max(...quanta));
      }),
    );
  });

  it('bulk streams send no tiny frames', () => {
    const line = new Line();
    for (let i = 0; i < 3; i++) line.write(line.stream(), 1_000_000);
    for (let i = 0; i < 300; i++) line.serve(i % 3 === 0 ? 930 : undefined);
    expect(Math.min(...line.turns.map(([, bytes]) => bytes))).toBeGreaterThanOrEqual(QUANTUM / 4);
  });
});

describe('A quiet stream', () => {
  it.each([1, 4, 32])(
    'a quiet stream goes before all of %i bulk streams each time it wakes, several times a round',
    (bulk) => {
      const line = new Line();
      for (let i = 0; i < bulk; i++) line.write(line.stream(), 10_000_000);
      const quiet = line.stream();
      for (let i = 0; i < 10 * bulk; i++) line.serve();
      for (let i = 0; i < 300; i++) {
        line.write(quiet, Math.floor(QUANTUM / 16));
        expect(line.serve(), `time ${i}`).toBe(quiet);
        for (let turn = 0; turn < Math.ceil(bulk / 8); turn++) line.serve();
      }
    },
  );

  it('a quiet stream waits for at most one quantum of each other stream, whatever they did before', () => {
    const operations = fc.array(fc.tuple(fc.nat(7), fc.integer({ min: 1, max: 5000 }), fc.nat(4)), { maxLength: 60 });
    fc.assert(
      fc.property(operations, (before) => {
        const line = new Line();
        for (let i = 0; i < 8; i++) line.stream();
        for (const [stream, bytes, turns] of before) {
          line.write(stream, bytes);
          for (let i = 0; i < turns; i++) line.serve();
        }
        const small = line.stream();
        line.write(small, 1);
        const from = line.turns.length;
        while (line.serve() !== small);
        const waitedFor = new Map<number, number>();
        for (const [stream, bytes] of line.turns.slice(from))
          waitedFor.set(stream, (waitedFor.get(stream) ?? 0) + bytes);
        for (const bytes of waitedFor.values()) expect(bytes).toBeLessThanOrEqual(1.25 * QUANTUM);
      }),
    );
  });

  it('a bulk stream cannot get more than its share by small parts', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: 6 }), (portion, bulk) => {
        const line = new Line();
        for (let i = 0; i < bulk; i++) line.write(line.stream(), 10_000_000);
        const sly = line.stream();
        for (let i = 0; i < 2000; i++) {
          // Always ready to send again as soon as its queue is empty, but never found with more than one portion.
          if (line.streams[sly]!.queue.bytes === 0) line.write(sly, portion);
          line.serve();
        }
        expect(line.sent[sly]!).toBeLessThanOrEqual(1.05 * line.sent[0]! + 3 * QUANTUM);
      }),
    );
  });
});

describe('Many quiet streams', () => {
  it('new quiet streams all the time leave bulk a seventeenth of the bytes', () => {
    const line = new Line();
    const bulk = line.stream();
    line.write(bulk, 10_000_000);
    for (let i = 0; i < 50; i++) line.serve();
    const before = line.sent[bulk]!;
    for (let i = 0; i < 5000; i++) {
      line.write(line.stream(), QUANTUM);
      line.serve();
    }
    expect((line.sent[bulk]! - before) / (5000 * QUANTUM)).toBeGreaterThan(1 / 18);
  });

  it('quiet streams do not wait for bulk that was closed before its turn', () => {
    const line = new Line();
    const bulk = line.stream();
    line.write(bulk, 10_000_000);
    for (let i = 0; i < 50; i++) line.serve();
    for (let i = 0; i < 16; i++) {
      line.write(line.stream(), QUANTUM);
      line.serve();
    }
    line.streams[bulk]!.phase = 'closed';
    const waiting = line.stream();
    line.write(waiting, QUANTUM);
    expect(line.serve()).toBe(waiting);
  });

  it('many small quiet streams all go before bulk', () => {
    const line = new Line();
    line.write(line.stream(), 10_000_000);
    for (let i = 0; i < 50; i++) line.serve();
    for (let i = 0; i < 40; i++) line.write(line.stream(), QUANTUM / 10);
    for (let i = 0; i < 40; i++) expect(line.serve()).toBe(i + 1);
    expect(line.serve()).toBe(0);
  });
});

describe('Streams without anything left to send', () => {
  it('streams without anything left to send are skipped, and can come back', () => {
    const line = new Line();
    for (let i = 0; i < 3; i++) line.write(line.stream(), 100);
    line.streams[0]!.queue.clear();
    line.streams[1]!.phase = 'closed';
    expect([line.serve(), line.serve()]).toEqual([2, undefined]);
    line.write(0, 5);
    expect(line.serve()).toBe(0);
    expect(line.scheduler.isEmpty).toBe(true);
  });
});

describe('Turns that something else takes', () => {
  it('a stream with little to send is quiet again after a round of them, and bulk is not', () => {
    const line = new Line();
    const [quiet, ...bulk] = Array.from({ length: 4 }, () => line.stream());
    for (const index of bulk) line.write(index, 10 * QUANTUM);
    // New streams are quiet.
    for (const index of bulk) expect(line.serve()).toBe(index);
    // Its quantum is used up by parts.
    for (let i = 0; i < 4; i++) {
      line.write(quiet!, 200);
      expect(line.serve()).toBe(quiet);
    }
    line.write(quiet!, 200);
    const { scheduler } = line;
    expect(scheduler.hasQuiet).toBe(false);
    for (let i = 0; i < scheduler.size; i++) {
      expect(scheduler.hasQuiet).toBe(false);
      scheduler.passTurn(({ queue }) => queue.bytes <= 200);
    }
    expect(scheduler.nextQuiet(QUANTUM)?.id).toBe(quiet);
    expect([scheduler.isQuietTurn, scheduler.hasQuiet, scheduler.size]).toEqual([true, false, bulk.length]);
  });
});
