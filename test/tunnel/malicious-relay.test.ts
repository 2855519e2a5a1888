/**
 * A relay that tampers with the records of real sessions, at random places. Whatever it does: no program gets a wrong
 * byte, none sees a clean end of what is not complete, and every stream is reset soon.
 */
import type { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { DEFAULT_MUX_CONFIG } from '../../src/mux/config.ts';
import type { Target } from '../../src/tunnel/stream/stream.ts';
import { securePair } from '../support/links/secure-pair.ts';
import { type Direction, honest, Middle, type Tamper } from '../support/links/tampering-link.ts';
import { driverPair } from '../support/mux/session-pairs.ts';
import { payload } from '../support/payload.ts';
import { type Prng, prng } from '../support/prng.ts';
import { until } from '../support/until.ts';

const SEEDS = 12;
/** By which every stream must have been reset. */
const PROMISED_MS = 5_000;
const STREAMS = 3;
/** Each way on each stream: about 12 records a direction, more than `FIRST_RECORDS`. */
const STREAM_BYTES = 120_000;
/** The attack is on one of these. */
const FIRST_RECORDS = 9;
/** Messages before the first record. */
const HANDSHAKE_MESSAGES: Readonly<Record<Direction, number>> = { up: 2, down: 1 };

/** One end of one stream: what came, and how it ended. */
interface Arrival {
  readonly expected: Buffer;
  readonly chunks: Buffer[];
  ended: boolean;
  closed: boolean;
}

function watch(stream: Duplex, expected: Buffer): Arrival {
  const arrival: Arrival = { expected, chunks: [], ended: false, closed: false };
  stream.on('data', (chunk: Buffer) => arrival.chunks.push(chunk));
  stream.on('end', () => {
    arrival.ended = true;
  });
  stream.on('close', () => {
    arrival.closed = true;
  });
  stream.on('error', () => {});
  return arrival;
}

/** A client and an exit that send each other files over a few streams, and the relay between them. */
class Session {
  readonly middle: Middle;
  readonly arrivals: Arrival[] = [];
  readonly ends: string[] = [];

  private constructor(middle: Middle) {
    this.middle = middle;
  }

  /** Begins the transfers; `salt` makes the files of this session its own. */
  static async begin(salt: number): Promise<Session> {
    const middle = new Middle();
    const session = new Session(middle);
    const links = await securePair({ near: middle.client, far: middle.exit });
    const pair = driverPair(links, {
      config: DEFAULT_MUX_CONFIG,
      onOffer: (offer) => session.serve(offer.accept(), offer.target.port + salt),
      onEnd: (end, fault) => void session.ends.push(`${end} ${fault}`),
    });
    for (let port = 0; port < STREAMS; port++) {
      const target: Target = { kind: 'name', name: 'example.org', port };
      // An attack that comes before the answer makes the open fail: then nothing was delivered.
      pair.client.open(target, new AbortController().signal).then(
        (stream) =>
          session.transfer(stream, payload(STREAM_BYTES, port + salt), payload(STREAM_BYTES, 100 + port + salt)),
        () => {},
      );
    }
    return session;
  }

  private serve(stream: Duplex, seed: number): void {
    this.transfer(stream, payload(STREAM_BYTES, 100 + seed), payload(STREAM_BYTES, seed));
  }

  private transfer(stream: Duplex, outgoing: Buffer, incoming: Buffer): void {
    this.arrivals.push(watch(stream, incoming));
    stream.end(outgoing);
  }

  get over(): boolean {
    return this.ends.length === 2 && this.arrivals.every(({ closed }) => closed);
  }

  get complete(): boolean {
    const { arrivals } = this;
    return arrivals.length === 2 * STREAMS && arrivals.every(({ ended }) => ended);
  }

  /** What must hold at any moment. */
  expectTrue(): void {
    for (const { expected, chunks, ended } of this.arrivals) {
      const got = Buffer.concat(chunks);
      expect(got.equals(expected.subarray(0, got.length))).toBe(true);
      if (ended) expect(got.length).toBe(expected.length);
    }
  }
}

interface Attack {
  readonly random: Prng;
  readonly direction: Direction;
  /** The record that is attacked, counted from 0. */
  readonly record: number;
  readonly session: Session;
  /** Of another session between the same two parties, which ran before. */
  readonly recorded: Readonly<Record<Direction, readonly Buffer[]>>;
}

/** What becomes of the attacked record, in this and the following calls. */
type Strike = (attack: Attack) => (message: Buffer, sinceStrike: number) => readonly Uint8Array[];

const other = (direction: Direction): Direction => (direction === 'up' ? 'down' : 'up');

function cut(message: Buffer, random: Prng): Buffer {
  const length = random.below(message.length);
  return random.chance(0.5) ? message.subarray(0, length) : message.subarray(message.length - length);
}

function flip(message: Buffer, random: Prng): Buffer {
  message[random.below(message.length)]! ^= 1 << random.below(8);
  return message;
}

/** Only the first call strikes; later records pass. */
const onlyOnce = (strike: (message: Buffer, attack: Attack) => readonly Uint8Array[]): Strike => {
  return (attack) => (message, since) => (since === 0 ? strike(message, attack) : [message]);
};

/** Kept back until so many others have passed. */
const delayed: Strike = ({ random }) => {
  const by = 1 + random.below(2);
  let kept: Buffer | undefined;
  return (message, since) => {
    if (since === 0) kept = message;
    return since === 0 ? [] : since === by && kept ? [message, kept] : [message];
  };
};

const STRIKES: Readonly<Record<string, Strike>> = {
  'drops a record': onlyOnce(() => []),
  'drops all records from one on, then ends the links with a goodbye': ({ session }) => {
    return () => {
      session.middle.close();
      return [];
    };
  },
  'sends a record twice': onlyOnce((message) => [message, message]),
  'swaps records': delayed,
  'cuts a record off': onlyOnce((message, { random }) => [cut(message, random)]),
  'lengthens a record': onlyOnce((message, { random }) => [
    Buffer.concat([message, Buffer.alloc(1 + random.below(40))]),
  ]),
  'cuts a record in two': onlyOnce((message, { random }) => {
    const at = random.below(message.length);
    return [message.subarray(0, at), message.subarray(at)];
  }),
  'flips a bit of a record': onlyOnce((message, { random }) => [flip(message, random)]),
  'sends a record back to its sender': onlyOnce((message, { direction, session }) => {
    session.middle.inject(other(direction), message);
    return [message];
  }),
  'puts in a record that it has passed on before': onlyOnce((message, { direction, random, session }) => {
    const sent = session.middle.sent[direction];
    return [sent[random.below(sent.length - 1)]!, message];
  }),
  'replays the same record of another session': onlyOnce((_, { direction, record, recorded }) => [
    recorded[direction][HANDSHAKE_MESSAGES[direction] + record]!,
  ]),
  'replays any message of another session': onlyOnce((message, { direction, random, recorded }) => [
    random.pick(recorded[random.chance(0.5) ? direction : other(direction)]),
    message,
  ]),
  'makes a record up': onlyOnce((message, { random }) => [
    Buffer.from(Array.from({ length: random.below(300) }, () => random.below(256))),
    message,
  ]),
};

/** Calls `strike` for the chosen record and those after it; says whether it came to that. */
function strikeAt(
  { direction, record }: Attack,
  strike: ReturnType<Strike>,
): { tamper: Tamper; struck: () => boolean } {
  const from = HANDSHAKE_MESSAGES[direction] + record;
  let struck = false;
  const tamper: Tamper = (message, number, toward) => {
    if (toward !== direction || number < from) return honest(message, number, toward);
    struck = true;
    return strike(message, number - from);
  };
  return { tamper, struck: () => struck };
}

async function untilAllReset(...sessions: readonly Session[]): Promise<void> {
  await until(() => sessions.every(({ over }) => over), PROMISED_MS);
}

/** A whole session that nobody disturbed. */
async function recordSession(): Promise<Session> {
  const session = await Session.begin(500);
  await until(() => session.complete, PROMISED_MS);
  session.expectTrue();
  return session;
}

describe('an honest relay', () => {
  it('an honest relay lets every stream end cleanly and complete, so that the tests below can fail', async () => {
    const { middle, ends } = await recordSession();
    expect(ends).toEqual([]);
    for (const direction of ['up', 'down'] as const)
      expect(middle.sent[direction].length).toBeGreaterThan(HANDSHAKE_MESSAGES[direction] + FIRST_RECORDS);
    middle.close();
    await until(() => ends.length === 2);
    expect(new Set(ends)).toEqual(new Set(['client link-lost', 'exit link-lost']));
  });
});

describe('a malicious relay', () => {
  it.for(Object.entries(STRIKES))(
    `a relay that %s makes all streams fail and corrupts none (seeds 1 to ${SEEDS})`,
    async ([, strike]) => {
      const before = await recordSession();
      let cutOff = 0;
      for (let seed = 1; seed <= SEEDS; seed++) {
        const random = prng(seed);
        const session = await Session.begin(seed);
        const direction = random.pick(['up', 'down'] as const);
        const attack = {
          random,
          direction,
          record: random.below(FIRST_RECORDS),
          session,
          recorded: before.middle.sent,
        };
        const { tamper, struck } = strikeAt(attack, strike(attack));
        session.middle.tamper = tamper;
        await untilAllReset(session);
        session.expectTrue();
        expect([seed, struck()]).toEqual([seed, true]);
        if (!session.complete) cutOff += 1;
      }
      // Otherwise attacks came too late to matter: what is sent back can lie behind all that was true.
      expect(cutOff).toBeGreaterThan(SEEDS / 2);
      before.middle.close();
    },
  );

  it(`a relay that exchanges records of two clients makes the streams of both fail (seeds 1 to ${SEEDS})`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = prng(seed);
      const both = await Promise.all([Session.begin(seed), Session.begin(1_000 + seed)]);
      const direction = random.pick(['up', 'down'] as const);
      const exchanged = HANDSHAKE_MESSAGES[direction] + random.below(FIRST_RECORDS);
      for (const [at, session] of both.entries()) {
        const peer = both[1 - at]!;
        session.middle.tamper = (message, number, toward) => {
          if (toward !== direction || number !== exchanged) return [message];
          peer.middle.inject(direction, message);
          return [];
        };
      }
      await untilAllReset(...both);
      for (const session of both) {
        session.expectTrue();
        expect([seed, session.complete]).toEqual([seed, false]);
      }
    }
  });
});
