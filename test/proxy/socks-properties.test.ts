import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CredentialCheck } from '../../src/proxy/credentials.ts';
import type { SocksCommand, SocksNegotiation } from '../../src/proxy/socks-negotiation.ts';
import { Socks4Negotiation } from '../../src/proxy/socks4.ts';
import { Socks5Negotiation } from '../../src/proxy/socks5.ts';
import { run, type SocksRun } from '../support/proxy/socks-run.ts';

const SEED = 20_261_123;
const check = new CredentialCheck({ user: 'ann', pass: 'secret' });
const makers: Record<string, () => SocksNegotiation> = {
  socks5: () => new Socks5Negotiation(undefined),
  locked: () => new Socks5Negotiation(check),
  socks4: () => new Socks4Negotiation(false),
};

const bytes = (constraints: fc.IntArrayConstraints = {}) => fc.uint8Array(constraints).map((array) => [...array]);
const lengthed = (array: readonly number[]) => [array.length, ...array];
/** Mostly what is valid; the rest is for the mutations. */
const name = fc.oneof(
  fc.domain().map((text) => [...Buffer.from(text)]),
  bytes({ maxLength: 255 }),
);
const socks5Request = fc
  .tuple(
    fc.constantFrom(1, 1, 1, 2, 3, 5, 9),
    fc.nat(255),
    fc.oneof(
      bytes({ minLength: 4, maxLength: 4 }).map((ip) => [1, ...ip]),
      bytes({ minLength: 16, maxLength: 16 }).map((ip) => [4, ...ip]),
      name.map((host) => [3, ...lengthed(host)]),
      bytes({ minLength: 1, maxLength: 3 }),
    ),
    bytes({ minLength: 2, maxLength: 2 }),
  )
  .map(([command, reserved, address, port]) => [5, command, reserved, ...address, ...port]);
const greeting = fc
  .oneof(fc.constant([0]), fc.constant([0, 2]), fc.constant([2]), bytes({ maxLength: 255 }))
  .map((m) => [5, ...lengthed(m)]);
const password = fc
  .oneof(fc.constant(['ann', 'secret']), fc.tuple(fc.string({ maxLength: 60 }), fc.string({ maxLength: 60 })))
  .map((pair) => [1, ...pair.flatMap((text) => lengthed([...Buffer.from(text)]))]);
const socks4Request = fc
  .tuple(
    fc.constantFrom(1, 1, 1, 2),
    bytes({ minLength: 2, maxLength: 2 }),
    fc.oneof(fc.constantFrom([0, 0, 0, 1], [0, 0, 0, 0]), bytes({ minLength: 4, maxLength: 4 })),
    bytes({ maxLength: 300 }),
    name,
  )
  .map(([command, port, ip, user, host]) => [4, command, ...port, ...ip, ...user, 0, ...host, 0]);
const behind = bytes({ maxLength: 40 });
const conversations: Record<string, fc.Arbitrary<number[]>> = {
  socks5: fc
    .tuple(greeting, password, socks5Request, behind)
    .map(([hello, pair, ...parts]) => [hello, ...(hello.slice(2).includes(0) ? [] : [pair]), ...parts].flat()),
  locked: fc.tuple(greeting, password, socks5Request, behind).map((parts) => parts.flat()),
  socks4: fc.tuple(socks4Request, behind).map((parts) => parts.flat()),
};

/** Cuts at the given places, taken modulo the length. */
function cutAt(whole: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [...new Set(places.map((place) => place % (whole.length + 1)))].sort((a, b) => a - b);
  return [0, ...sorted].map((start, i) => whole.subarray(start, sorted[i] ?? whole.length));
}

/** RFC 1929 §2: what stands behind version, user and password, whatever these are; nothing behind another version. */
function behindPassword(bytes: readonly number[]): number[] {
  const user = bytes[1] ?? 0;
  return bytes[0] === 1 ? bytes.slice(3 + user + (bytes[2 + user] ?? 0)) : [];
}

const COMMANDS = new Map<number, SocksCommand>([
  [1, 'connect'],
  [2, 'bind'],
  [3, 'udp-associate'],
  [5, 'udp-in-tcp'],
]);

/** The whole conversation in one look, written from the RFC's tables and nothing else. */
function naiveSocks5(all: readonly number[]): Omit<SocksRun, 'replies' | 'fault'> | undefined {
  const methods = all.slice(2, 2 + (all[1] ?? 0));
  const behindGreeting = all.slice(2 + methods.length);
  if (!methods.includes(0) && !methods.includes(2)) return undefined;
  const request = methods.includes(0) ? behindGreeting : behindPassword(behindGreeting);
  const [version, code = 0, , type = 0] = request;
  const command = COMMANDS.get(code);
  if (all[0] !== 5 || version !== 5 || command === undefined) return undefined;
  const hostStart = type === 3 ? 5 : 4;
  const hostLength = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? (request[4] ?? 0) : -1;
  const host = request.slice(hostStart, hostStart + hostLength);
  const [high, low] = request.slice(hostStart + hostLength);
  if (hostLength < 1 || high === undefined || low === undefined) return undefined;
  const port = high * 256 + low;
  const rest = Buffer.from(request.slice(hostStart + hostLength + 2)).toString('latin1');
  if (type !== 3) return { end: 'request', command, target: { kind: 'ip', ip: Uint8Array.from(host), port }, rest };
  if (host.includes(0)) return undefined;
  const labels = String.fromCharCode(...host).split('.');
  if (labels.some((label) => label.startsWith('-'))) return undefined;
  if (labels.some((label, at) => label === '' && (at === 0 || at < labels.length - 1))) return undefined;
  return { end: 'request', command, target: { kind: 'name', name: String.fromCharCode(...host), port }, rest };
}

describe.each(Object.keys(makers))('%s', (kind) => {
  const make = makers[kind]!;

  it('a SOCKS negotiation has the same outcome wherever the bytes are split', () => {
    fc.assert(
      fc.property(conversations[kind]!, fc.array(fc.nat(), { maxLength: 30 }), (conversation, places) => {
        const whole = Uint8Array.from(conversation);
        expect(run(make(), cutAt(whole, places))).toEqual(run(make(), [whole]));
      }),
      { seed: SEED, numRuns: 500 },
    );
  });
});

describe('socks5', () => {
  it('Socks5Negotiation reads the same requests as a naive reader', () => {
    fc.assert(
      fc.property(conversations.socks5!, (conversation) => {
        const { end, command, target, rest } = run(makers.socks5!(), [Uint8Array.from(conversation)]);
        const expected = naiveSocks5(conversation);
        expect(end === 'request' ? { end, command, target, rest } : undefined).toEqual(expected);
      }),
      { seed: SEED, numRuns: 1_000 },
    );
  });
});

describe('fuzzing', () => {
  /** xorshift32: the cases are the same at every run. */
  function random(seed: number): (below: number) => number {
    let state = seed;
    return (below) => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % below;
    };
  }

  function mutate(sample: readonly number[], next: (below: number) => number): Uint8Array {
    const mutant = [...sample];
    for (let n = next(4); n >= 0; n--) {
      const at = next(mutant.length + 1);
      const edits = [
        () => mutant.splice(at, 1, next(256)),
        () => mutant.splice(at, 0, next(256)),
        () => mutant.splice(at, next(8)),
        () => mutant.splice(at, 0, ...mutant.slice(at, at + next(300))),
      ];
      edits[next(edits.length)]!();
    }
    return Uint8Array.from(mutant);
  }

  it(`survives 100,000 mutated conversations (seed ${SEED}) within its bounds`, () => {
    const next = random(SEED);
    const kinds = Object.keys(makers);
    const samples = kinds.map((kind) => fc.sample(conversations[kind]!, { seed: SEED, numRuns: 200 }));
    const heapBefore = process.memoryUsage().heapUsed;
    const ends = { more: 0, request: 0, refused: 0 };
    for (let i = 0; i < 100_000; i++) {
      const which = next(kinds.length);
      const mutant = mutate(samples[which]![next(200)]!, next);
      const result = run(makers[kinds[which]!]!(), cutAt(mutant, [next(600), next(600)]));
      ends[result.end]++;
      // Unanswered at 600 bytes: a bound is broken.
      if (result.end === 'more') expect(mutant.length).toBeLessThan(1_100);
      if (result.target?.kind === 'name') expect(result.target.name.length).toBeLessThanOrEqual(255);
    }
    // Each way must have been taken, or the fuzzer has lost its edge.
    for (const count of Object.values(ends)) expect(count).toBeGreaterThan(1_000);
    expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(64 * 1024 * 1024);
  });
});
