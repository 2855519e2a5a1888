/** Mutated records against a whole session: what the codec lets through, the state machine must judge. */
import { describe, expect, it } from 'vitest';
import { DEFAULT_MUX_CONFIG } from '../../src/mux/config.ts';
import { RetransmitMemory } from '../../src/mux/links/retransmit-store.ts';
import { MuxSession } from '../../src/mux/session.ts';
import { encodeRecordHeader, type Placement, type RecordHeader } from '../../src/protocol/record-header.ts';
import { kept, waitingDatagramBytes } from '../support/mux/mux-internals.ts';
import { OneLinkSession } from '../support/mux/one-link-session.ts';
import { frame, wire } from '../support/mux/wire.ts';
import { type Prng, prng } from '../support/prng.ts';

const seed = 20261124;

/** Frames that an honest client could send, in an order that it could not always. */
function records(random: Prng): Buffer[] {
  const frames = [wire.hello()];
  let id = 1;
  const nextId = (): number => {
    id += 2;
    return id - 2;
  };
  for (let count = random.below(12); count > 0; count--) {
    const stream = random.chance(0.8) ? Math.max(1, id - 2) : id;
    frames.push(
      random.pick([
        () => wire.open(nextId(), random.below(100_000)),
        () => wire.data(stream, Buffer.alloc(random.below(600))),
        () => wire.credit(stream, random.below(100_000)),
        () => wire.finish(stream),
        () => wire.reset(stream),
        () => wire.ping(),
        () => wire.goAway(10, 0),
      ])(),
    );
  }
  const stream = mutated(Buffer.concat(frames), random);
  const cut = random.below(stream.length + 1);
  return [stream.subarray(0, cut), stream.subarray(cut)];
}

function mutated(bytes: Buffer, random: Prng): Buffer {
  const copy = Buffer.from(bytes);
  for (let flips = random.below(3); flips > 0; flips--) copy[random.below(copy.length)] = random.below(256);
  return random.chance(0.1) ? copy.subarray(0, random.below(copy.length + 1)) : copy;
}

/** What an exit does with what it is told. */
function answer(session: MuxSession, random: Prng, now: number): void {
  for (let event = session.pollEvent(); event; event = session.pollEvent()) {
    if (event.type === 'offer') {
      if (random.chance(0.7)) session.accept(event.stream, now);
      else session.refuse(event.stream, 'dial-refused');
    }
    if (event.type === 'data' && random.chance(0.5)) session.consume(event.stream, event.bytes.length, now);
    if (event.type === 'offer' && random.chance(0.5)) session.write(event.stream, Buffer.alloc(random.below(3000)));
  }
  for (let polls = 0; polls < 4 && session.pollRecord(now) !== undefined; polls++);
}

describe('40,000 mutated records', () => {
  it('mutated records never throw, and a session that they end keeps nothing', () => {
    const random = prng(seed);
    let ended = 0;
    for (let round = 0; round < 40_000; round++) {
      const session = new MuxSession({ ...DEFAULT_MUX_CONFIG, role: 'exit' }, 0);
      for (const record of records(random)) {
        session.handleRecord(record, round);
        answer(session, random, round);
      }
      const { streams, committed, events } = kept(session);
      if (session.isOver) ended += 1;
      const clean = session.isOver
        ? streams === 0 && committed === 0
        : committed <= DEFAULT_MUX_CONFIG.sessionWindowBytes;
      if (!clean || events > 0) throw new Error(`something is left: seed ${seed}, round ${round}`);
    }
    // The mutations must neither end all sessions nor none.
    expect(ended).toBeGreaterThan(4_000);
    expect(ended).toBeLessThan(38_000);
  });
});

const KIB = 1024;
const REORDER_BYTES = 64 * KIB;

/** Records that an honest client could send on several links, most of them placed, some in pieces, some twice. */
function linkedRecords(random: Prng): Buffer[] {
  const messages: Buffer[] = [];
  const newest = new Map<number, number>();
  const last = 1 + random.below(20);
  for (let number = 2; number <= last; number++) {
    const stream = 1 + 2 * random.below(3);
    const before = newest.get(stream);
    newest.set(stream, number);
    const placement = { number, floor: 1, followed: before === undefined ? [] : [before] };
    const frames = wire.data(stream, Buffer.alloc(1 + random.below(random.pick([20, 5_000])), number));
    messages.push(...messagesOf(placement, frames, random));
  }
  return messages;
}

function messagesOf(placement: Placement, frames: Buffer, random: Prng): Buffer[] {
  const acknowledged = random.chance(0.1)
    ? { position: random.below(2), receivedUs: random.below(2 ** 32) }
    : undefined;
  const header: RecordHeader = { isNumbered: true, mayWait: random.chance(0.2), acknowledged, placement };
  const whole = Buffer.concat([encodeRecordHeader(header), frames]);
  const cut = 1 + random.below(frames.length - 1);
  const pieceOf = (offset: number, end: number): Buffer => {
    const piece = { offset, total: frames.length };
    return Buffer.concat([encodeRecordHeader({ ...header, piece }), frames.subarray(offset, end)]);
  };
  if (random.chance(0.2)) return [pieceOf(0, cut), pieceOf(cut, frames.length)];
  return random.chance(0.2) ? [whole, whole] : [whole];
}

/** As far as each link's own order allows any; and some bytes changed. */
function disturbed(messages: readonly Buffer[], random: Prng): Buffer[] {
  const order = messages.map((message, i) => ({ message, at: i + random.below(8) }));
  order.sort((a, b) => a.at - b.at);
  return order.map(({ message }) => {
    if (!random.chance(0.03)) return message;
    const copy = Buffer.from(message);
    // Most of them in the header.
    copy[random.below(Math.min(copy.length, random.chance(0.8) ? 16 : copy.length))] = random.below(256);
    return random.chance(0.2) ? copy.subarray(0, random.below(copy.length + 1)) : copy;
  });
}

describe('10,000 mutated sequences of placed records', () => {
  it('mutated placed records on several links never throw, stay within the bound of what is held, and leave nothing', () => {
    const random = prng(seed);
    const hello = Buffer.concat([Uint8Array.of(0), wire.hello(1024, 1, 3), wire.open(1), wire.open(3), wire.open(5)]);
    let ended = 0;
    let received = 0;
    for (let round = 0; round < 10_000; round++) {
      const memory = new RetransmitMemory(KIB * KIB);
      const session = OneLinkSession.of({ role: 'exit' }, { reorderBytes: REORDER_BYTES }, memory);
      session.attach(0, 0, 0);
      session.receive([hello], 0);
      for (const id of [1, 3, 5]) session.mux.accept(id, 0);
      session.join(0, 0);
      for (const message of disturbed(linkedRecords(random), random)) {
        session.handleMessage(random.pick(session.links), [message], round);
        answer(session.mux, random, round);
        for (let polls = 0; polls < 4 && session.poll(round) !== undefined; polls++);
        if (memory.used > session.retransmitBytes + REORDER_BYTES + 400)
          throw new Error(`too much is held: seed ${seed}, round ${round}`);
      }
      if (session.mux.isOver) ended += 1;
      received += session.received;
      session.end('internal');
      if (memory.used > 0) throw new Error(`something is left: seed ${seed}, round ${round}`);
    }
    // The mutations must neither end all sessions nor none.
    expect(ended).toBeGreaterThan(1_000);
    expect(ended).toBeLessThan(7_000);
    expect(received).toBeGreaterThan(20_000);
  });
});

/** Ends of sessions that have associations 1 (datagrams with addresses) and 3 (connected), and a TCP connection 5. */
const ASSOCIATIONS = [1, 3, 5];

function openWith(stream: number, service: number, port: number): Buffer {
  return frame(1, stream, Buffer.from([0, 0, 0, 0, service, 1, port >> 8, port & 0xff, 192, 0, 2, 1]));
}

function datagramFrame(random: Prng): Buffer {
  const stream = random.pick([1, 1, 3, 3, 5, 7, 99]);
  const address = random.pick([
    '0100350a000001',
    '04003520010db8000000000000000000000001',
    '030035016e',
    '',
    '02003500',
  ]);
  const content = Buffer.alloc(random.below(random.pick([10, 1_400])), 7);
  return frame(0x82, stream, Buffer.concat([Buffer.from(stream === 3 ? '' : address, 'hex'), content]));
}

/** What a client sends that mixes datagrams with the rest, some of which nobody may send. */
function mixedRecord(random: Prng): Buffer {
  const acknowledged = random.chance(0.3)
    ? { position: random.below(random.chance(0.02) ? 40 : 2), receivedUs: random.below(2 ** 32) }
    : undefined;
  const isNumbered = random.chance(0.3);
  const header = encodeRecordHeader({ isNumbered, mayWait: random.chance(0.2), acknowledged });
  const others = [wire.ping(), frame(0x90, 3), frame(0x81, 0, Buffer.alloc(5)), wire.data(5, Buffer.alloc(20))];
  const frames = Array.from({ length: random.below(5) }, () =>
    isNumbered || random.chance(0.02) ? random.pick(others) : datagramFrame(random),
  );
  return mutatedSeldom(Buffer.concat([header, ...frames]), random);
}

function mutatedSeldom(record: Buffer, random: Prng): Buffer {
  if (!random.chance(0.03)) return record;
  record[random.below(record.length)] = random.below(256);
  return random.chance(0.3) ? record.subarray(0, random.below(record.length + 1)) : record;
}

describe('10,000 mutated sequences of datagrams', () => {
  /** An exit that sends each datagram back, perhaps often, to where it came from. */
  function echo(session: OneLinkSession, random: Prng, now: number): number {
    let count = 0;
    for (let event = session.mux.pollEvent(); event; event = session.mux.pollEvent()) {
      if (event.type !== 'datagram') continue;
      count += 1;
      for (let copies = random.below(3); copies > 0; copies--)
        session.mux.sendDatagram(event.stream, Buffer.from(event.content), event.address, now);
    }
    return count;
  }

  function begin(): OneLinkSession {
    const session = OneLinkSession.of({ role: 'exit' });
    session.attach(0, 0, 0);
    const opens = [openWith(1, 2, 0), openWith(3, 2, 53), openWith(5, 1, 80)];
    session.receive([Buffer.concat([Uint8Array.of(0), wire.hello(1024, 1, 0x000f), ...opens])], 0);
    for (const id of ASSOCIATIONS) session.mux.accept(id, 0);
    return session;
  }

  it('mutated datagrams never throw, are bounded while they wait, and leave nothing when the session ends', () => {
    const random = prng(seed);
    let ended = 0;
    let datagrams = 0;
    for (let round = 0; round < 10_000; round++) {
      const session = begin();
      for (let now = 0; now < 200; now += 10) {
        session.receive([mixedRecord(random)], now);
        datagrams += echo(session, random, now);
        if (random.chance(0.05)) session.attach(session.link?.lastSent ?? 0, session.received, now);
        for (let polls = random.below(4); polls > 0 && session.poll(now) !== undefined; polls--);
        if (waitingDatagramBytes(session.mux) > 2 * 257 * KIB) throw new Error(`too much waits: round ${round}`);
      }
      if (session.mux.isOver) ended += 1;
      else session.mux.fail('session-closed');
      session.mux.sendDatagram(3, Buffer.alloc(10), undefined, 200);
      const { streams, committed } = kept(session.mux);
      const isClean = streams === 0 && committed === 0 && waitingDatagramBytes(session.mux) === 0;
      if (!isClean || session.mux.hasDatagrams) throw new Error(`something is left: seed ${seed}, round ${round}`);
    }
    // The mutations must neither end all sessions nor none.
    expect(ended).toBeGreaterThan(1_000);
    expect(ended).toBeLessThan(9_000);
    expect(datagrams).toBeGreaterThan(50_000);
  });
});
