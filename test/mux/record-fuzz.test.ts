/** Mutated records against a whole session: what the codec lets through, the state machine must judge. */
import { describe, expect, it } from 'vitest';
import { DEFAULT_MUX_CONFIG } from '../../src/mux/config.ts';
import { MuxSession } from '../../src/mux/session.ts';
import { kept } from '../support/mux/mux-internals.ts';
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
