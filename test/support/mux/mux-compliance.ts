/**
 * What any two joined ends of a session must do, whatever carries their records. A pair is made in a few lines (see
 * session-pairs.ts); the ends show streams as Duplexes, as SessionDriver does.
 */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { FAULTS, type WireFaultName, WstunError } from '../../../src/errors.ts';
import type { MuxConfig } from '../../../src/mux/config.ts';
import type { OfferedStream, Target } from '../../../src/tunnel/stream/stream.ts';
import { faultOfPromise } from '../faults.ts';
import { ipTarget } from '../net/targets.ts';
import { until } from '../until.ts';

export interface ComplianceEnd {
  open(target: Target, signal: AbortSignal): Promise<Duplex>;
  drain(): Promise<void>;
  end(fault: WireFaultName): void;
  readonly streamCount: number;
}

export interface CompliancePair {
  readonly client: ComplianceEnd;
  readonly exit: ComplianceEnd;
  /** The link fails without a word. */
  cut(): void;
  release(): Promise<void>;
}

export interface PairSetup {
  readonly config: Partial<MuxConfig>;
  onOffer(offer: OfferedStream): void;
  onEnd(end: 'client' | 'exit', fault: WireFaultName): void;
}

export type PairFactory = (setup: PairSetup) => CompliancePair | Promise<CompliancePair>;

export interface ComplianceSize {
  /** What bulk transfers move, bytes. */
  readonly bulk: number;
  readonly streams: number;
}

const never = (): AbortSignal => new AbortController().signal;
const TARGET: Target = { kind: 'name', name: 'example.org', port: 443 };
const DIAL_FAULTS = Object.entries(FAULTS)
  .filter(([, fault]) => fault.class === 'dial' && 'wire' in fault)
  .map(([name]) => name as WireFaultName);

/** One pair and what came of it. */
class Bench {
  readonly ends: string[] = [];
  readonly offers: OfferedStream[] = [];
  pair!: CompliancePair;
  /** What an offer gets; by default it waits in `offers`. */
  serve: (offer: OfferedStream) => void = (offer) => void this.offers.push(offer);

  static async of(factory: PairFactory, config: Partial<MuxConfig> = {}): Promise<Bench> {
    const bench = new Bench();
    bench.pair = await factory({
      config,
      onOffer: (offer) => bench.serve(offer),
      onEnd: (end, fault) => void bench.ends.push(`${end} ${fault}`),
    });
    return bench;
  }

  async offer(): Promise<OfferedStream> {
    await until(() => this.offers.length > 0);
    return this.offers.shift()!;
  }

  /** A stream, open at both ends; its place is freed when the exit's end closes. */
  async stream(): Promise<{ near: Duplex; far: Duplex; offer: OfferedStream }> {
    const opening = this.pair.client.open(TARGET, never());
    const offer = await this.offer();
    const far = offer.accept();
    far.once('close', () => offer.release());
    return { near: await opening, far, offer };
  }

  get idle(): boolean {
    return this.pair.client.streamCount === 0 && this.pair.exit.streamCount === 0;
  }
}

/** Bytes that differ everywhere, so that any loss, repetition or exchange changes the hash. */
function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i + 4 <= length; i += 4) bytes.writeUInt32LE(Math.imul(i + seed, 2654435761) >>> 0, i);
  return bytes;
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** All up to the end. Not by iteration, which destroys a stream when its readable side has ended. */
function read(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('end', () => resolve(Buffer.concat(chunks)));
    stream.once('error', reject);
    stream.once('close', () => reject(new Error('closed without an end')));
  });
}

/** Collects until the end or an error. */
function collect(stream: Duplex): { bytes: () => Buffer; ended: () => boolean; fault: () => string | undefined } {
  const chunks: Buffer[] = [];
  let ended = false;
  let fault: string | undefined;
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('end', () => {
    ended = true;
  });
  stream.on('error', (error) => {
    fault = error instanceof WstunError ? error.fault : String(error);
  });
  return { bytes: () => Buffer.concat(chunks), ended: () => ended, fault: () => fault };
}

export function describeMuxCompliance(name: string, factory: PairFactory, size: ComplianceSize): void {
  const benches: Bench[] = [];
  const start = async (config?: Partial<MuxConfig>): Promise<Bench> => {
    const bench = await Bench.of(factory, config);
    benches.push(bench);
    return bench;
  };
  afterEach(async () => {
    await Promise.all(benches.splice(0).map(({ pair }) => pair.release()));
  });

  describe(`Two ends of a session over ${name}`, () => {
    openingTests(start);
    transferTests(start, size);
    resetTests(start);
    creditTests(start, size);
    endTests(start);
  });
}

type Start = (config?: Partial<MuxConfig>) => Promise<Bench>;

function openingTests(start: Start): void {
  it('two ends of a session carry the target of an open unchanged', async () => {
    const bench = await start();
    const targets: Target[] = [
      TARGET,
      { kind: 'name', name: '\u00ff\u0000 not a host', port: 0 },
      ipTarget('192.0.2.1', 65535),
      ipTarget('2001:db8::1', 1),
    ];
    const opening = targets.map((target) => bench.pair.client.open(target, never()));
    for (const target of targets) {
      const offer = await bench.offer();
      expect(offer.target).toEqual(target);
      offer.accept();
    }
    await Promise.all(opening);
  });

  it('two ends of a session carry the fault of each refusal, and keep nothing of it', async () => {
    const bench = await start();
    bench.serve = (offer) => {
      offer.refuse(DIAL_FAULTS[offer.target.port]!);
      offer.release();
    };
    const answers = DIAL_FAULTS.map((_, port) => faultOfPromise(bench.pair.client.open({ ...TARGET, port }, never())));
    expect(await Promise.all(answers)).toEqual(DIAL_FAULTS);
    expect(bench.idle).toBe(true);
    expect(bench.ends).toEqual([]);
  });

  it('the exit gets an event if an open is reset before its answer', async () => {
    const bench = await start();
    const abort = new AbortController();
    const opening = faultOfPromise(bench.pair.client.open(TARGET, abort.signal));
    const offer = await bench.offer();
    abort.abort();
    expect(await opening).toBe('dial-cancelled');
    await until(() => offer.signal.aborted);
    expect(offer.accept().destroyed).toBe(true);
    offer.release();
    await until(() => bench.idle);
  });

  it('an open that is reset at once never reaches the exit', async () => {
    const bench = await start();
    const abort = new AbortController();
    const opening = faultOfPromise(bench.pair.client.open(TARGET, abort.signal));
    abort.abort();
    expect(await opening).toBe('dial-cancelled');
    const { near } = await bench.stream();
    near.destroy();
    for (const offer of bench.offers) expect(offer.signal.aborted).toBe(true);
  });

  it('the slot of a stream is free only when the exit has released it', async () => {
    const bench = await start({ maxStreams: 2 });
    const offers: OfferedStream[] = [];
    for (let i = 0; i < 2; i++) {
      const opening = bench.pair.client.open(TARGET, never());
      const offer = await bench.offer();
      const far = offer.accept();
      offers.push(offer);
      const near = await opening;
      far.destroy();
      await until(() => near.destroyed);
    }
    expect(await faultOfPromise(bench.pair.client.open(TARGET, never()))).toBe('dial-busy');
    offers[0]!.release();
    const { near, far } = await bench.stream();
    near.end();
    far.end();
    await Promise.all([read(near), read(far)]);
  });
}

function transferTests(start: Start, size: ComplianceSize): void {
  it('two ends of a session carry bulk both ways at once, complete and in order, and keep nothing of it', async () => {
    const bench = await start();
    const { near, far } = await bench.stream();
    const [up, down] = [pattern(size.bulk, 1), pattern(size.bulk, 2)];
    near.end(up);
    far.end(down);
    const [gotDown, gotUp] = await Promise.all([read(near), read(far)]);
    expect(hashOf(gotUp)).toBe(hashOf(up));
    expect(hashOf(gotDown)).toBe(hashOf(down));
    await until(() => bench.idle);
  });

  it.each(['client', 'exit'] as const)(
    'the other direction continues after the %s has finished its own',
    async (side) => {
      const bench = await start();
      const { near, far } = await bench.stream();
      const [first, second] = side === 'client' ? [near, far] : [far, near];
      first.end('request');
      const answers = read(first);
      expect(String(await read(second))).toBe('request');
      const answer = pattern(size.bulk, 3);
      second.end(answer);
      expect(hashOf(await answers)).toBe(hashOf(answer));
      await until(() => bench.idle);
    },
  );

  it('a stream without a byte in either direction ends cleanly', async () => {
    const bench = await start();
    const { near, far } = await bench.stream();
    near.end();
    far.end();
    expect(await Promise.all([read(near), read(far)])).toEqual([Buffer.alloc(0), Buffer.alloc(0)]);
    await until(() => bench.idle);
  });

  it('two ends of a session carry many streams at once, each with its own bytes', async () => {
    const bench = await start();
    bench.serve = (offer) => {
      const far = offer.accept();
      far.once('close', () => offer.release());
      far.pipe(far);
    };
    // More than a few may be opened only once the exit has said how many.
    const first = await bench.pair.client.open(TARGET, never());
    first.end();
    await read(first);
    const echoes = Array.from({ length: size.streams }, async (_, index) => {
      const near = await bench.pair.client.open({ ...TARGET, port: index }, never());
      const bytes = pattern(100 + 37 * index, index);
      near.write(bytes.subarray(0, 50));
      near.end(bytes.subarray(50));
      return (await read(near)).equals(bytes);
    });
    expect((await Promise.all(echoes)).every(Boolean)).toBe(true);
    await until(() => bench.idle);
  });
}

function resetTests(start: Start): void {
  it.each(['client', 'exit'] as const)('a reset by the %s arrives as its fault, never as a clean end', async (side) => {
    const bench = await start();
    const { near, far } = await bench.stream();
    const [resetter, other] = side === 'client' ? [near, far] : [far, near];
    const seen = collect(other);
    resetter.write('some bytes');
    await until(() => seen.bytes().length === 10);
    resetter.write('more that may be lost');
    resetter.destroy(new WstunError('target-reset'));
    await until(() => other.destroyed && seen.fault() !== undefined);
    expect(seen.fault()).toBe('target-reset');
    expect(seen.ended()).toBe(false);
    expect(Buffer.from('some bytesmore that may be lost').includes(seen.bytes())).toBe(true);
    await until(() => bench.idle);
  });

  it('a reset after a finish arrives as a reset at the end that still writes', async () => {
    const bench = await start();
    const { near, far } = await bench.stream();
    far.end('all there is');
    expect(String(await read(near))).toBe('all there is');
    const failed = faultOfPromise(finished(near));
    far.destroy(new WstunError('dial-failed'));
    expect(await failed).toBe('dial-failed');
    await until(() => bench.idle);
  });

  it('writes that wait fail when the stream is reset', async () => {
    const bench = await start();
    const { near, far } = await bench.stream();
    // More than any window: it cannot all be gone.
    const write = new Promise((resolve) => near.write(Buffer.alloc(9_000_000), resolve));
    far.destroy();
    expect(await write).toBeInstanceOf(Error);
    await until(() => bench.idle);
  });
}

/** Of 16 KiB; half as much again as may be kept. */
const STALLED_CHUNKS = 18;

function creditTests(start: Start, size: ComplianceSize): void {
  // Byte by byte, and each byte's memory watched: seconds.
  it('only the stream whose reader stopped stalls, and a limited part of it is kept', { timeout: 60_000 }, async () => {
    const bench = await start({
      initialWindowBytes: 64 * 1024,
      maxWindowBytes: 64 * 1024,
      maxSendQueueBytes: 64 * 1024,
    });
    const stalled = await bench.stream();
    const free = await bench.stream();
    const chunk = 16 * 1024;
    let taken = 0;
    const writing = (async () => {
      for (let i = 0; i < STALLED_CHUNKS; i++) {
        await new Promise<void>((resolve, reject) =>
          stalled.near.write(pattern(chunk, i), (error) => (error ? reject(error) : resolve())),
        );
        taken += chunk;
      }
      stalled.near.end();
    })();
    const bulk = pattern(size.bulk, 4);
    free.near.end(bulk);
    expect(hashOf(await read(free.far))).toBe(hashOf(bulk));
    // One window at the reader, one queue at the writer, and what a Duplex holds.
    expect(taken).toBeLessThanOrEqual(3 * 64 * 1024);
    const [all] = await Promise.all([read(stalled.far), writing]);
    expect(hashOf(all)).toBe(
      hashOf(Buffer.concat(Array.from({ length: STALLED_CHUNKS }, (_, i) => pattern(chunk, i)))),
    );
  });
}

function endTests(start: Start): void {
  it.each(['client', 'exit'] as const)(
    'every stream, open and offer gets exactly one event when the %s ends the session',
    async (side) => {
      const bench = await start();
      const { near, far, offer } = await bench.stream();
      const opening = faultOfPromise(bench.pair.client.open(TARGET, never()));
      const waiting = await bench.offer();
      const counts = [near, far].map((stream) => {
        const count = { errors: 0, closes: 0, ends: 0 };
        stream.on('error', () => count.errors++);
        stream.on('close', () => count.closes++);
        stream.on('end', () => count.ends++);
        stream.resume();
        return count;
      });
      bench.pair[side].end('access-removed');
      expect(await opening).toBe('access-removed');
      await until(() => bench.ends.length === 2 && waiting.signal.aborted && offer.signal.aborted);
      await until(() => counts.every(({ closes }) => closes > 0));
      expect(new Set(bench.ends)).toEqual(new Set(['client access-removed', 'exit access-removed']));
      expect(counts).toEqual([
        { errors: 1, closes: 1, ends: 0 },
        { errors: 1, closes: 1, ends: 0 },
      ]);
      expect(await faultOfPromise(bench.pair.client.open(TARGET, never()))).toBe('shutting-down');
    },
  );

  it('every stream is reset when the link is lost', async () => {
    const bench = await start();
    const { near, far } = await bench.stream();
    const seen = [near, far].map(collect);
    bench.pair.cut();
    await until(() => seen.every(({ fault }) => fault() !== undefined));
    expect(seen.map(({ fault, ended }) => [fault(), ended()])).toEqual([
      ['link-lost', false],
      ['link-lost', false],
    ]);
    await until(() => bench.ends.length === 2);
    expect(new Set(bench.ends)).toEqual(new Set(['client link-lost', 'exit link-lost']));
  });

  it.each(['client', 'exit'] as const)(
    'streams continue to their end when the %s drains, and no more are opened',
    async (side) => {
      const bench = await start();
      const { near, far } = await bench.stream();
      let drained = false;
      const draining = bench.pair[side].drain().then(() => {
        drained = true;
      });
      far.write('told');
      await once(near, 'readable');
      expect(await faultOfPromise(bench.pair.client.open(TARGET, never()))).toBe('shutting-down');
      expect(drained).toBe(false);
      near.end('last words');
      far.end();
      const [, up] = await Promise.all([read(near), read(far)]);
      expect(String(up)).toBe('last words');
      await draining;
      expect(bench.offers).toEqual([]);
    },
  );
}
