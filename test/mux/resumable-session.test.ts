import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CongestionConfig, DEFAULT_CONGESTION_CONFIG } from '../../src/mux/congestion/congestion-config.ts';
import { DEFAULT_RESUME_CONFIG } from '../../src/mux/links/resume-config.ts';
import { type Acknowledgement, encodeRecordHeader, MAX_RECORD_COUNT } from '../../src/protocol/record-header.ts';
import type { Side } from '../support/mux/mux-rig.ts';
import { ResumeRig } from '../support/mux/resume-rig.ts';
import { prng } from '../support/prng.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const { resumeWindowMs, stallMs } = DEFAULT_RESUME_CONFIG;

const ack = (position: number): Acknowledgement => ({ position, receivedUs: 0 });

/** A path on which everything may be on its way at once. */
const UNBOUNDED: CongestionConfig = {
  ...DEFAULT_CONGESTION_CONFIG,
  initialBytes: 64 * MIB,
  laterInitialBytes: 64 * MIB,
  maxInFlightBytes: 64 * MIB,
  queueMs: 1e9,
};

/** A rig with one open stream. */
function rigWithStream(...options: ConstructorParameters<typeof ResumeRig>): ResumeRig {
  const rig = new ResumeRig(...options);
  rig.client.open();
  rig.flow();
  rig.exit.accept(0);
  rig.flow();
  return rig;
}

type Operation =
  | readonly ['open' | 'associate']
  | readonly ['accept', index: number]
  | readonly ['finish' | 'reset', Side, index: number]
  | readonly ['write' | 'consume' | 'sendDatagram', Side, index: number, bytes: number]
  | readonly ['poll' | 'arrive', Side, messages: number]
  | readonly ['pass', ms: number]
  | readonly ['lose', up: number, down: number]
  | readonly ['join' | 'replace', meanwhile: number];

const index = fc.nat(7);
const few = fc.nat(5);
const side = fc.constantFrom<Side>('client', 'exit');
const bytes = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 60_000 }));
const just = <T extends string>(...types: T[]): fc.Arbitrary<T> => fc.constantFrom(...types);

const operations: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 20, arbitrary: fc.tuple(just('open')) },
  { weight: 20, arbitrary: fc.tuple(just('associate')) },
  { weight: 20, arbitrary: fc.tuple(just('accept'), index) },
  { weight: 15, arbitrary: fc.tuple(just('finish'), side, index) },
  { weight: 5, arbitrary: fc.tuple(just('reset'), side, index) },
  { weight: 50, arbitrary: fc.tuple(just('write', 'consume'), side, index, bytes) },
  { weight: 80, arbitrary: fc.tuple(just('sendDatagram'), side, index, bytes) },
  { weight: 100, arbitrary: fc.tuple(just('poll', 'arrive'), side, few) },
  { weight: 20, arbitrary: fc.tuple(just('pass'), fc.nat(400)) },
  { weight: 15, arbitrary: fc.tuple(just('lose'), few, few) },
  { weight: 15, arbitrary: fc.tuple(just('join', 'replace'), few) },
);

function perform(rig: ResumeRig, operation: Operation): void {
  switch (operation[0]) {
    case 'open':
    case 'associate':
      return rig.client[operation[0]]();
    case 'accept':
      return rig.exit.accept(operation[1]);
    case 'finish':
    case 'reset':
      return rig[operation[1]][operation[0]](operation[2]);
    case 'write':
    case 'consume':
    case 'sendDatagram':
      return rig[operation[1]][operation[0]](operation[2], operation[3]);
    case 'poll':
      return void rig[operation[1]].poll(operation[2]);
    case 'arrive':
      return rig[operation[1]].arrive(operation[2]);
    case 'pass':
      return rig.pass(operation[1]);
    case 'lose':
      return rig.lose(operation[1], operation[2]);
    case 'join':
      return rig.isJoined ? undefined : rig.join();
    case 'replace':
      return rig.isJoined ? rig.join(operation[1]) : undefined;
  }
}

describe('Two ends whose links come and go', () => {
  it('two ends over many links deliver prefixes, end cleanly only what is complete, lose and repeat nothing, and keep nothing', () => {
    let datagrams = 0;
    fc.assert(
      fc.property(fc.array(operations, { minLength: 20, maxLength: 200, size: 'max' }), (sequence) => {
        const rig = new ResumeRig({ sessionWindowBytes: 200 * KIB, sendBudgetBytes: 100 * KIB, maxDataBytes: 3000 });
        for (const operation of sequence) perform(rig, operation);
        rig.settle();
        for (const { resumable, budget } of rig.ends) expect([resumable.retransmitBytes, budget.used]).toEqual([0, 0]);
        for (const { streams } of rig.ends)
          for (const { association } of streams.values()) datagrams += association?.received ?? 0;
      }),
      { numRuns: 500 },
    );
    // None of them came twice, altered or after a later one: the rig looks at each.
    expect(datagrams).toBeGreaterThan(500);
  });

  it('two ends carry a megabyte each way over 500 links, each of which carries very little', () => {
    const rig = rigWithStream();
    const random = prng(5);
    for (let i = 0; i < 500; i++) {
      for (const end of rig.ends) {
        end.write(0, 2 * KIB);
        end.poll(10);
      }
      if (random.chance(0.5)) rig.lose(random.below(2), random.below(2));
      else rig.client.consume(0, MIB);
      if (!rig.isJoined || random.chance(0.3)) rig.join(random.below(2));
      // A link takes a moment to make; each is pinged once.
      rig.pass(50);
    }
    rig.settle();
    expect(rig.exit.streams.get(1)?.received).toBe(1000 * KIB);
  });
});

describe('Acknowledgements', () => {
  it('an acknowledgement is sent at most once an interval alone, and with each record that is sent anyway', () => {
    const rig = rigWithStream();
    const { client, exit } = rig;
    const before = client.bareAcknowledgements;
    for (let i = 0; i < 50; i++) {
      exit.write(0, 100);
      exit.poll(10);
      exit.arrive(10);
      client.poll(10);
    }
    expect(client.bareAcknowledgements - before).toBeLessThanOrEqual(1);
    client.write(0, 1);
    client.poll(10);
    client.arrive(10);
    expect(exit.resumable.retransmitBytes).toBe(0);
  });

  it.each([
    [
      'of a record that was never sent',
      encodeRecordHeader({ isNumbered: false, mayWait: false, acknowledged: ack(1000) }),
    ],
    [
      'of more than there can be',
      encodeRecordHeader({ isNumbered: false, mayWait: false, acknowledged: ack(MAX_RECORD_COUNT) }),
    ],
    ['that is cut off', encodeRecordHeader({ isNumbered: true, mayWait: false, acknowledged: ack(1) }).subarray(0, 10)],
    ['with flags that this version does not know', Uint8Array.of(0x40)],
    ['in a message of nothing', new Uint8Array(0)],
  ])('an acknowledgement %s ends the session', (_what, message) => {
    const { resumable } = rigWithStream().exit;
    resumable.receive([message], 0);
    expect(resumable.mux.isOver).toBe(true);
  });

  it('repeated acknowledgements without news, empty records and empty messages are floods', () => {
    for (const [isNumbered, acknowledged] of [
      [false, ack(0)],
      [true, undefined],
      [false, undefined],
    ] as const) {
      const { resumable } = rigWithStream().exit;
      const message = encodeRecordHeader({ isNumbered, mayWait: false, acknowledged });
      let sent = 0;
      while (!resumable.mux.isOver && sent < 10_000) {
        resumable.receive([message], 0);
        sent += 1;
      }
      expect(sent).toBeGreaterThan(900);
      expect(sent).toBeLessThan(1100);
    }
  });
});

describe('A request on a new link', () => {
  it('after a request on a new link, the old link acknowledges no more, so that nothing is dropped too early', () => {
    const rig = rigWithStream();
    const { client, exit } = rig;
    const said = client.resumable.received;
    client.resumable.holdAcknowledgements();
    for (let i = 0; i < 5; i++) {
      exit.write(0, 5000);
      exit.poll(10);
      exit.arrive(10);
      rig.clock.now += 10;
      client.poll(10);
      client.arrive(10);
    }
    expect(client.streams.get(1)?.received).toBeGreaterThan(0);
    expect(client.resumable.received).toBe(said);
    expect(exit.resumable.fits(said)).toBe(true);
    rig.lose();
    rig.join();
    rig.settle();
    expect(client.streams.get(1)?.received).toBe(25_000);
  });

  it('a request that comes after more was acknowledged is found not to fit, and ends nothing', () => {
    const rig = rigWithStream();
    const said = rig.client.resumable.received - 1;
    expect(rig.exit.resumable.fits(said)).toBe(false);
    expect(rig.exit.resumable.mux.isOver).toBe(false);
  });
});

describe('Memory of records', () => {
  it('memory of records is given back however the session ends', () => {
    for (const end of ['fail', 'by the peer', 'expired'] as const) {
      const rig = rigWithStream();
      const { client } = rig;
      client.write(0, 200_000);
      client.poll(5);
      expect(client.budget.used).toBeGreaterThan(0);
      if (end === 'expired') client.resumable.end('session-expired');
      else client.resumable.mux.fail('internal');
      client.resumable.end('internal');
      expect([client.resumable.retransmitBytes, client.budget.used]).toEqual([0, 0]);
    }
  });

  it('memory of records includes what a record costs beside its bytes', () => {
    const rig = rigWithStream();
    rig.client.write(0, 1);
    rig.client.poll(1);
    expect(rig.client.resumable.retransmitBytes).toBeGreaterThan(400);
  });

  it('a retransmitted record is a copy, so a link never has the kept memory', () => {
    const rig = rigWithStream();
    rig.client.write(0, 5000);
    rig.client.poll(5);
    rig.lose();
    const { resumable } = rig.client;
    resumable.attach(rig.exit.resumable.received, resumable.received, rig.clock.now);
    const again = resumable.pollMessage(rig.clock.now) ?? [];
    const before = Buffer.concat(again);
    rig.client.budget.acquire().memory.fill(0);
    resumable.end('internal');
    rig.client.budget.acquire().memory.fill(0xee);
    expect(Buffer.concat(again).equals(before)).toBe(true);
    expect(again[0]?.buffer.byteLength).toBeLessThan(256 * KIB);
  });
});

describe('Records for a peer that acknowledges nothing', () => {
  it('unacknowledged records stay within their limit: then nothing new is sent, and nothing is dropped', () => {
    const rig = rigWithStream(
      {
        maxWindowBytes: 16 * MIB,
        initialWindowBytes: 16 * MIB,
        sessionWindowBytes: 64 * MIB,
        maxSendQueueBytes: 16 * MIB,
      },
      { retransmitBytes: MIB, minRetransmitBytes: 64 * KIB, congestion: UNBOUNDED },
    );
    rig.client.write(0, 8 * MIB);
    rig.client.poll(1000);
    expect(rig.client.resumable.retransmitBytes).toBeGreaterThanOrEqual(MIB);
    expect(rig.client.resumable.retransmitBytes).toBeLessThan(MIB + 64 * KIB);
    rig.settle();
    expect(rig.exit.streams.get(1)?.received).toBe(8 * MIB);
  });

  it('unacknowledged records of a session are few if the process is at its limit, but some are always allowed', () => {
    const rig = rigWithStream({}, { minRetransmitBytes: 64 * KIB, congestion: UNBOUNDED });
    rig.client.budget.used = rig.client.budget.limit;
    rig.client.write(0, 250 * KIB);
    rig.client.poll(1000);
    expect(rig.client.resumable.retransmitBytes).toBeGreaterThanOrEqual(64 * KIB);
    expect(rig.client.resumable.retransmitBytes).toBeLessThan(128 * KIB);
  });
});

describe('A session without a link', () => {
  it('a session without a link expires to the millisecond, and its streams get the reason', () => {
    const rig = rigWithStream();
    rig.lose();
    const { resumable } = rig.client;
    expect(resumable.nextTimeout()).toBe(rig.clock.now + resumeWindowMs);
    resumable.handleTimeout(rig.clock.now + resumeWindowMs - 1);
    expect(resumable.mux.isOver).toBe(false);
    resumable.handleTimeout(rig.clock.now + resumeWindowMs);
    expect(resumable.mux.pollEvent()).toMatchObject({ type: 'reset', fault: 'session-expired' });
    expect(resumable.mux.pollEvent()).toMatchObject({ type: 'ended', fault: 'session-expired' });
    expect(resumable.retransmitBytes).toBe(0);
  });

  it('a session with a resume window of 0 ends with its link', () => {
    const rig = rigWithStream({}, { resumeWindowMs: 0 });
    rig.client.resumable.lose(0);
    expect(rig.client.resumable.mux.pollEvent()).toMatchObject({ type: 'reset', fault: 'link-lost' });
  });

  it('a session without a link sends nothing, and accepts writes for the next link', () => {
    const rig = rigWithStream();
    rig.lose();
    rig.client.write(0, 5000);
    expect(rig.client.resumable.pollMessage(0)).toBeUndefined();
    rig.settle();
    expect(rig.exit.streams.get(1)?.received).toBe(5000);
  });
});

describe('A peer whose count of records does not fit', () => {
  it.each([
    ['lacks what it acknowledged before', 0],
    ['has what was never sent', 1000],
  ])('a peer that %s ends the session with session-gap', (_what, received) => {
    const rig = rigWithStream();
    rig.lose();
    const { resumable } = rig.client;
    expect(resumable.attach(received, resumable.received, 0)).toBeUndefined();
    expect(resumable.mux.pollEvent()).toMatchObject({ type: 'reset', fault: 'session-gap' });
    expect(resumable.isAttached).toBe(false);
  });
});

describe('The state of a link', () => {
  it('a link is suspect while bytes are in flight and nothing comes back', () => {
    const rig = rigWithStream();
    const { resumable } = rig.client;
    rig.clock.now += 60_000;
    expect(resumable.linkState(rig.clock.now - 59_000)).toBe('fine');
    resumable.mux.liveness.handleBytes(rig.clock.now);
    rig.client.write(0, 5000);
    rig.client.poll(10);
    expect(resumable.linkState(rig.clock.now + stallMs - 1)).toBe('fine');
    expect(resumable.stallsAt()).toBe(rig.clock.now + stallMs);
    expect(resumable.linkState(rig.clock.now + stallMs)).toBe('suspect');
    rig.clock.now += stallMs;
    rig.client.arrive(10);
    rig.exit.poll(10);
    rig.exit.arrive(10);
    expect(resumable.linkState(rig.clock.now)).toBe('fine');
  });

  it('a link is dead after silence, with or without bytes in flight', () => {
    const rig = rigWithStream();
    const { resumable } = rig.client;
    expect(resumable.linkState(rig.clock.now + 45_000)).toBe('dead');
    rig.lose();
    expect(resumable.linkState(rig.clock.now + 45_000)).toBe('detached');
  });
});
