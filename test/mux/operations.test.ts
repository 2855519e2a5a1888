import fc from 'fast-check';
import { describe, it } from 'vitest';
import { plainRig, type Rig, type Side } from '../support/mux/mux-rig.ts';
import { type Prng, prng } from '../support/prng.ts';

const KIB = 1024;

/** Small enough that windows, queues, slots and the session's budget are all short all the time. */
const SHORT = {
  maxStreams: 6,
  sessionWindowBytes: 24 * KIB,
  initialWindowBytes: 6 * KIB,
  minWindowBytes: KIB,
  maxWindowBytes: 20 * KIB,
  sendBudgetBytes: 16 * KIB,
  minSendQueueBytes: KIB,
  maxSendQueueBytes: 8 * KIB,
  maxDataBytes: 3000,
} as const;

type Operation =
  | readonly ['open']
  | readonly ['accept' | 'refuse', index: number]
  | readonly ['finish' | 'reset', Side, index: number]
  | readonly ['write' | 'consume', Side, index: number, bytes: number]
  | readonly ['poll', Side, records: number, maxBytes: number]
  | readonly ['arrive', Side, bytes: number, piece: number]
  | readonly ['pass', ms: number]
  | readonly ['drain', Side];

const index = fc.nat(7);
const side = fc.constantFrom<Side>('client', 'exit');
const bytes = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 30_000 }));
const just = <T extends string>(type: T): fc.Arbitrary<T> => fc.constant(type);

const operations: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 30, arbitrary: fc.tuple(just('open')) },
  { weight: 30, arbitrary: fc.tuple(just('accept'), index) },
  { weight: 10, arbitrary: fc.tuple(just('refuse'), index) },
  { weight: 20, arbitrary: fc.tuple(just('finish'), side, index) },
  { weight: 10, arbitrary: fc.tuple(just('reset'), side, index) },
  { weight: 60, arbitrary: fc.tuple(just('write'), side, index, bytes) },
  { weight: 50, arbitrary: fc.tuple(just('consume'), side, index, bytes) },
  {
    weight: 60,
    arbitrary: fc.tuple(just('poll'), side, fc.integer({ min: 1, max: 4 }), fc.constantFrom(512, 5000, 65_519)),
  },
  {
    weight: 80,
    arbitrary: fc.tuple(
      just('arrive'),
      side,
      fc.oneof(fc.nat(40), fc.nat(70_000)),
      fc.constantFrom(1, 7, 1000, 100_000),
    ),
  },
  { weight: 20, arbitrary: fc.tuple(just('pass'), fc.nat(400)) },
  { weight: 1, arbitrary: fc.tuple(just('drain'), side) },
);

function perform(rig: Rig, operation: Operation): void {
  switch (operation[0]) {
    case 'open':
      return rig.client.open();
    case 'accept':
    case 'refuse':
      return rig.exit[operation[0]](operation[1]);
    case 'finish':
    case 'reset':
      return rig[operation[1]][operation[0]](operation[2]);
    case 'write':
    case 'consume':
      return rig[operation[1]][operation[0]](operation[2], operation[3]);
    case 'poll':
      return void rig[operation[1]].poll(operation[2], operation[3]);
    case 'arrive':
      return rig[operation[1]].arrive(operation[2], operation[3]);
    case 'pass':
      return rig.pass(operation[1]);
    case 'drain':
      return rig[operation[1]].session.drain();
  }
}

describe('Any sequence of operations of two honest ends', () => {
  it('two honest ends deliver prefixes, end cleanly only what is complete, stay within their limits, and keep nothing', () => {
    fc.assert(
      fc.property(fc.array(operations, { minLength: 20, maxLength: 150, size: 'max' }), (sequence) => {
        const rig = plainRig(SHORT);
        for (const operation of sequence) perform(rig, operation);
        rig.settle();
      }),
      { numRuns: 300 },
    );
  });
});

/**
 * Streams opened, used a little, and reset or finished by either side at any moment, with much on its way meanwhile.
 */
function churn(rig: Rig, random: Prng, rounds: number): void {
  for (let round = 0; round < rounds; round++) {
    const end = random.pick(rig.ends);
    switch (random.below(12)) {
      case 0:
      case 1:
        rig.client.open();
        break;
      case 2:
      case 3:
        rig.exit.accept(random.below(50));
        break;
      case 4:
        end.reset(random.below(50));
        break;
      case 5:
        end.finish(random.below(50));
        break;
      case 6:
      case 7:
        end.write(random.below(50), 1 + random.below(4000));
        break;
      case 8:
        end.consume(random.below(50), random.below(6000));
        break;
      case 9:
        end.poll(1 + random.below(3));
        break;
      case 10:
        end.arrive(random.below(20_000), random.pick([13, 100_000]));
        break;
      default:
        if (random.chance(0.02)) rig.exit.refuse(0);
    }
  }
}

describe('Resets by both sides with frames in flight', () => {
  it('resets by both sides never end a session, even if the clock stands so that no budget refills', () => {
    for (let seed = 1; seed <= 15; seed++) {
      try {
        const rig = plainRig({ ...SHORT, maxStreams: 50, sessionWindowBytes: 200 * KIB });
        churn(rig, prng(seed), 2000);
        rig.settle();
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });

  it('a thousand streams that both sides reset while their frames cross never end a session', () => {
    for (const late of [1, 3, 7]) {
      const rig = plainRig({ maxStreams: 1024, sessionWindowBytes: 1024 * KIB });
      rig.client.open();
      rig.flow();
      for (let i = 0; i < 1000; i++) rig.client.open();
      rig.flow();
      for (let i = 0; i < 1000; i++) rig.exit.accept(0);
      rig.flow();
      for (const end of rig.ends) {
        for (let i = 0; i < 1000; i++) end.write(i, 5000);
        for (let i = 0; i < 1000; i += late) end.finish(i);
        end.poll(10_000);
        // All of it is on its way, in both directions, when both sides reset.
        for (let i = 0; i < 1000; i++) end.reset(0);
        end.poll(10_000);
      }
      rig.settle();
    }
  });
});
