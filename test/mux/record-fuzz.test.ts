/** Mutated records against a whole session: what the codec lets through, the state machine must judge. */
import { describe, expect, it } from 'vitest';
import { DEFAULT_MUX_CONFIG } from '../../src/mux/config.ts';
import { RetransmitMemory } from '../../src/mux/links/retransmit-store.ts';
import { MuxSession } from '../../src/mux/session.ts';
import { encodeRecordHeader, type Placement, type RecordHeader } from '../../src/protocol/record-header.ts';
import { kept } from '../support/mux/mux-internals.ts';
import { OneLinkSession } from '../support/mux/one-link-session.ts';
import { wire } from '../support/mux/wire.ts';
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
