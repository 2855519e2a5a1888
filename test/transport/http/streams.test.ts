/** The pure parts of the HTTP link, under everything that requests can do to a stream. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnswerTimes } from '../../../src/transport/http/answer-times.ts';
import { BlockReader, paddingFor } from '../../../src/transport/http/blocks.ts';
import { SIZE_BUCKETS } from '../../../src/transport/http/http-limits.ts';
import { LinkMemory } from '../../../src/transport/http/link-memory.ts';
import { decodeRequest, encodeRequest } from '../../../src/transport/http/link-requests.ts';
import { Reassembly } from '../../../src/transport/http/reassembly.ts';
import { SequenceWindow } from '../../../src/transport/http/sequence-window.ts';
import { StreamSender } from '../../../src/transport/http/stream-sender.ts';
import { type UpBody, UpSchedule } from '../../../src/transport/http/up-schedule.ts';

const RUNS = { numRuns: 200, seed: 5 };
const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff);

describe('the up stream at a relay', () => {
  it('bodies in any order, overlapping and repeated, become the stream, and no more is held than allowed', () => {
    const body = fc.tuple(fc.nat(500), fc.nat(120));
    fc.assert(
      fc.property(fc.array(body, { maxLength: 60 }), fc.nat(300), (bodies, room) => {
        const whole = bytesOf(620);
        const got: number[] = [];
        const intake = new Reassembly((bytes) => got.push(...bytes));
        for (const [from, length] of bodies) {
          const isKept = intake.take(from, whole.slice(from, from + length), room);
          expect(intake.heldBytes).toBeLessThanOrEqual(room);
          if (isKept && from <= intake.next) expect(intake.next).toBeGreaterThanOrEqual(from + length);
        }
        expect(got).toEqual([...whole.subarray(0, intake.next)]);
        intake.take(0, whole.slice(), 0);
        expect(got).toEqual([...whole]);
        expect(intake.heldBytes).toBe(0);
      }),
      RUNS,
    );
  });
});

describe('the sequence of requests', () => {
  it('each number is accepted once, and none that is 256 or more below the highest', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 900 }), { maxLength: 300 }), (numbers) => {
        const window = new SequenceWindow();
        const seen = new Set<number>();
        let highest = 0;
        for (const number of numbers) {
          const isNew = !seen.has(number) && number > highest - 256;
          expect(window.accept(number)).toBe(isNew);
          if (isNew) seen.add(number);
          highest = Math.max(highest, number);
        }
      }),
      RUNS,
    );
  });
});

describe('what a request says', () => {
  it('any 78 bytes are either rejected or written again alike', () => {
    const arbitrary = fc.tuple(fc.integer({ min: 0, max: 6 }), fc.uint8Array({ minLength: 28, maxLength: 28 }));
    fc.assert(
      fc.property(arbitrary, ([kind, fields]) => {
        const bytes = new Uint8Array(78);
        bytes[0] = kind;
        bytes.set(fields, 1);
        const request = decodeRequest(bytes);
        if (request !== undefined) expect(encodeRequest(request)).toEqual(bytes);
      }),
      RUNS,
    );
  });
});

describe('the stream of a sender', () => {
  it('messages arrive whole, in whatever parts the stream is read, acknowledged and sent again', () => {
    const message = fc.uint8Array({ maxLength: 3_000 });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 12 }), fc.integer({ min: 1, max: 900 }), (messages, step) => {
        const sender = new StreamSender();
        const got: string[] = [];
        const reader = new BlockReader({
          readsOnly: step % 2 === 0,
          handleMessage: (bytes) => got.push(Buffer.from(bytes).toString('hex')),
          readMessage: (bytes) => got.push(Buffer.from(bytes).toString('hex')),
          handleClose: () => {},
        });
        for (const bytes of messages) {
          sender.appendMessage([bytes.slice()], bytes.length);
          const padding = paddingFor(sender.end - sender.acknowledged);
          if (padding > 0) sender.appendPadding(padding);
        }
        for (let at = 0; at < sender.end; at += step) {
          const to = Math.min(sender.end, at + step);
          const view = sender.view(at, to);
          expect(reader.read(Uint8Array.from(Buffer.concat(view.pieces)))).toBeUndefined();
          view.release();
          sender.acknowledge(to);
        }
        expect(got).toEqual(messages.map((bytes) => Buffer.from(bytes).toString('hex')));
        expect(sender.retainedBytes).toBe(0);
      }),
      RUNS,
    );
  });

  it('padding gives small bodies one of a few sizes', () => {
    for (let bytes = 1; bytes <= 8_188; bytes++) expect(SIZE_BUCKETS).toContain(bytes + paddingFor(bytes));
    expect(paddingFor(8_193)).toBe(0);
  });

  it.each([4, 6])(
    'bodies that are lost, cut short or answered in any order carry every byte, at most %i at a time',
    (most) => {
      const outcome = fc.tuple(fc.nat(3), fc.constantFrom('lost', 'half', 'whole'));
      fc.assert(
        fc.property(fc.array(outcome, { maxLength: 200 }), (outcomes) => {
          const sender = new StreamSender();
          sender.appendMessage([bytesOf(60_000)], 60_000);
          sender.appendMessage([bytesOf(65_000)], 65_000);
          const schedule = new UpSchedule(sender, new AnswerTimes(), most);
          const intake = new Reassembly(() => {});
          const underWay: ReturnType<UpSchedule['poll']>[] = [];
          let now = 0;
          const settle = (at: number, how: string): void => {
            const [body] = underWay.splice(at, 1);
            if (body === undefined) return;
            const sent = Buffer.concat(sender.view(Math.max(body.from, sender.acknowledged), body.to).pieces);
            const part = how === 'whole' ? sent.length : Math.floor(sent.length / 2);
            intake.take(Math.max(body.from, sender.acknowledged), Uint8Array.from(sent.subarray(0, part)), 1 << 20);
            if (how !== 'whole') return schedule.handleLost(body);
            sender.acknowledge(intake.next);
            schedule.noteAnswer(body.sentAt, now);
            schedule.handleAnswer(body, intake.next, now);
          };
          const step = (at: number, how: string): void => {
            now += 10;
            for (let body = schedule.poll(now); body !== undefined; body = schedule.poll(now)) underWay.push(body);
            expect(underWay.length).toBeLessThanOrEqual(most);
            settle(at % Math.max(1, underWay.length), how);
          };
          for (const [at, how] of outcomes) step(at, how);
          for (let i = 0; i < 500 && sender.retainedBytes > 0; i++) step(0, 'whole');
          expect(intake.next).toBe(sender.end);
          expect(sender.retainedBytes).toBe(0);
        }),
        { numRuns: 100, seed: 5 },
      );
    },
  );
});

describe('small bodies of a busy client', () => {
  /** One message of 100 bytes each ms, and requests that take 60 ms each. */
  function startTimes(most: number, forMs: number): { times: number[]; mostUnderWay: number } {
    const sender = new StreamSender();
    const answerTimes = new AnswerTimes();
    const schedule = new UpSchedule(sender, answerTimes, most);
    const underWay: UpBody[] = [];
    const times: number[] = [];
    let mostUnderWay = 0;
    for (let now = 0; now < forMs; now++) {
      sender.appendMessage([bytesOf(100)], 100);
      for (let first = underWay[0]; first !== undefined && now - first.sentAt >= 60; first = underWay[0]) {
        underWay.shift();
        sender.acknowledge(first.to);
        schedule.noteAnswer(first.sentAt, now);
        schedule.handleAnswer(first, first.to, now);
      }
      for (let body = schedule.poll(now); body !== undefined; body = schedule.poll(now)) {
        underWay.push(body);
        times.push(now);
      }
      mostUnderWay = Math.max(mostUnderWay, underWay.length);
    }
    return { times: times.filter((at) => at > forMs / 2), mostUnderWay };
  }

  it.each([
    { most: 4, gapMs: 17 },
    { most: 6, gapMs: 12 },
  ])(
    'are spread over the time that a request takes: $most of them, none more than $gapMs ms later',
    ({ most, gapMs }) => {
      const { times, mostUnderWay } = startTimes(most, 2_000);
      const gaps = times.slice(1).map((at, i) => at - (times[i] ?? 0));
      expect(Math.max(...gaps)).toBeLessThanOrEqual(gapMs);
      expect(Math.min(...gaps)).toBeGreaterThan(1);
      expect(mostUnderWay).toBeLessThanOrEqual(most);
    },
  );

  it('large bodies and what is sent again have four requests at the most', () => {
    const sender = new StreamSender();
    const schedule = new UpSchedule(sender, new AnswerTimes(), 6);
    for (let i = 0; i < 10; i++) sender.appendMessage([bytesOf(60_000)], 60_000);
    let bodies = 0;
    for (let now = 0; now < 100; now++) while (schedule.poll(now) !== undefined) bodies += 1;
    expect(bodies).toBe(4);
  });
});

describe('what all links of a relay hold', () => {
  it('each link has a window of 1 MiB, down 2 MiB while all hold little, and 64 KiB while they hold too much', () => {
    const memory = new LinkMemory(1_000);
    const windows = (): number[] => [memory.windowBytes, memory.downWindowBytes];
    expect(windows()).toEqual([1_048_576, 2_097_152]);
    memory.change(250);
    expect(windows()).toEqual([1_048_576, 1_048_576]);
    memory.change(750);
    expect([...windows(), memory.usedBytes]).toEqual([65_536, 65_536, 1_000]);
    memory.change(-1_000);
    expect(windows()).toEqual([1_048_576, 2_097_152]);
  });
});
