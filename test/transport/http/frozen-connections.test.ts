/** The client's half of an HTTP link on connections that freeze, are cut and are held, in virtual time. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HttpClientLink } from '../../../src/transport/http/http-client-link.ts';
import { HttpNetwork, type HttpNetworkOptions, type Incident } from '../../support/links/http-network.ts';
import { prng } from '../../support/prng.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const MESSAGE_BYTES = 16_384;
const STEP_MS = 100;
/** Of a stream with something to deliver. */
const LONGEST_WAIT_MS = 6_000;

class Run {
  readonly network: HttpNetwork;
  readonly options: HttpNetworkOptions;
  readonly delivered: Uint8Array[] = [];
  link: HttpClientLink | undefined;
  ended = '';
  /** Whether answers are held back, each time that the link has found it out. */
  readonly found: boolean[] = [];

  constructor(
    readonly clock: VirtualClock,
    rest: Omit<HttpNetworkOptions, 'clock'> = {},
    isHoldingExpected = false,
  ) {
    this.options = { clock, ...rest };
    this.network = new HttpNetwork(this.options);
    new HttpClientLink({
      requester: this.network,
      clock,
      openingUrl: 'opening',
      urlOf: HttpNetwork.urlOf,
      remote: 'test',
      holding: { isExpected: isHoldingExpected, onFound: (isHeldBack) => void this.found.push(isHeldBack) },
      onOpen: (link) => this.open(link),
      onFault: () => {
        this.ended = 'not opened';
      },
    });
  }

  private open(link: HttpClientLink): void {
    this.link = link;
    link.setHandler({
      handleMessage: (pieces) => void this.delivered.push(Buffer.concat(pieces)),
      handleDrain: () => {},
      handleClose: ({ text }) => {
        this.ended = text;
      },
    });
  }

  async opened(): Promise<HttpClientLink> {
    for (let i = 0; i < 100 && this.link === undefined; i++) await this.clock.advance(STEP_MS);
    return this.link!;
  }

  /** Until all has arrived. Returns the longest time in which nothing did, in either direction. */
  async transfer(up: number, down: number, step: (now: number) => void): Promise<number> {
    const link = await this.opened();
    const since = { up: this.clock.now(), down: this.clock.now() };
    let had = { up: 0, down: 0, longest: 0 };
    for (let sent = 0, asked = 0; this.network.received.length < up || this.delivered.length < down; ) {
      if (this.ended !== '') throw new Error(this.ended);
      while (sent < up && link.queuedBytes < 200_000) link.send([message(sent++)]);
      if (asked < down) this.network.send(message(asked++));
      await this.clock.advance(STEP_MS);
      const now = this.clock.now();
      step(now);
      const has = { up: this.network.upReceived, down: this.delivered.length };
      if (has.up > had.up || this.network.received.length === up) since.up = now;
      if (has.down > had.down || has.down === down) since.down = now;
      had = { ...has, longest: Math.max(had.longest, now - since.up, now - since.down) };
      if (had.longest > 60_000) break;
    }
    return had.longest;
  }
}

function message(number: number): Uint8Array {
  const bytes = new Uint8Array(MESSAGE_BYTES).fill(number);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

function numbersOf(messages: readonly Uint8Array[]): number[] {
  return messages.map((bytes) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0));
}

describe('an HTTP link on connections that freeze', () => {
  it('delivers everything in order, without a long wait while new connections work', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1_000_000 }), async (seed) => {
        const random = prng(seed);
        const run = new Run(new VirtualClock({ seed }), { uplinkBytesPerSecond: 200_000 });
        const incidents: Incident[] = ['freeze', 'freeze', 'cut', 'hold', 'none'];
        let strikeAt = 1_000 + random.below(1_500);
        const count = 250;
        const longest = await run.transfer(count, count, (now) => {
          if (now < strikeAt) return;
          run.network.strike(() => incidents[random.below(incidents.length)]!, random.below(5_000));
          strikeAt = now + 10_000;
        });
        expect(longest).toBeLessThanOrEqual(LONGEST_WAIT_MS);
        const all = Array.from({ length: count }, (_, i) => i);
        expect(numbersOf(run.network.received)).toEqual(all);
        expect(numbersOf(run.delivered)).toEqual(all);
        expect(run.network.counts.poll).toBe(0);
      }),
      { numRuns: 12 },
    );
  });

  it.each([10_000, 100_000])('repeats next to nothing on a slow uplink of %i bytes a second', async (speed) => {
    const run = new Run(new VirtualClock(), { uplinkBytesPerSecond: speed });
    const messages = Math.ceil((speed * 40) / MESSAGE_BYTES);
    await run.transfer(messages, 0, () => {});
    expect(numbersOf(run.network.received)).toEqual(Array.from({ length: messages }, (_, i) => i));
    expect(run.network.sentBytes).toBeLessThan(run.network.upReceived * 1.05);
  });

  it('repeats little on an uplink that becomes a hundred times slower', async () => {
    const run = new Run(new VirtualClock(), { uplinkBytesPerSecond: 2_000_000 });
    await run.transfer(200, 0, () => {
      if (run.network.upReceived > 1_000_000) run.options.uplinkBytesPerSecond = 20_000;
    });
    expect(run.network.sentBytes).toBeLessThan(run.network.upReceived * 1.1);
  });

  it('polls where every answer is held back, and tries to stream now and then, which delays little', async () => {
    const run = new Run(new VirtualClock(), { holdsAnswers: true });
    const link = await run.opened();
    expect(link.mode).toBe('poll');
    const opened = run.network.counts.down;
    let late = 0;
    for (let i = 0; i < 300; i++) {
      const sentAt = run.clock.now();
      run.network.send(message(i));
      while (run.delivered.length <= i) await run.clock.advance(STEP_MS);
      late = Math.max(late, run.clock.now() - sentAt);
      await run.clock.advance(500);
    }
    expect(run.network.counts.down - opened).toBeGreaterThan(1);
    expect(run.network.counts.down - opened).toBeLessThan(6);
    expect(late).toBeLessThanOrEqual(1_000);
    expect(numbersOf(run.delivered)).toEqual(Array.from({ length: 300 }, (_, i) => i));
  });

  it('streams again when answers are no longer held back', async () => {
    const run = new Run(new VirtualClock(), { holdsAnswers: true });
    const link = await run.opened();
    await run.clock.advance(20_000);
    expect(link.mode).toBe('poll');
    expect(run.found).not.toContain(false);
    run.options.holdsAnswers = false;
    await run.clock.advance(100_000);
    expect(link.mode).toBe('stream');
    expect(run.found.at(-1)).toBe(false);
  });

  it.each([
    { holdsAnswers: true, isExpected: false, leastMs: 2_400, mostMs: 2_800, mode: 'poll' },
    { holdsAnswers: true, isExpected: true, leastMs: 0, mostMs: 600, mode: 'poll' },
    { holdsAnswers: false, isExpected: true, leastMs: 0, mostMs: 200, mode: 'stream' },
  ])(
    'opens within $mostMs ms where answers are held back: $holdsAnswers, as was expected: $isExpected',
    async ({ holdsAnswers, isExpected, leastMs, mostMs, mode }) => {
      const run = new Run(new VirtualClock(), { holdsAnswers }, isExpected);
      const since = run.clock.now();
      const link = await run.opened();
      const tookMs = run.clock.now() - since;
      expect(tookMs).toBeGreaterThanOrEqual(leastMs);
      expect(tookMs).toBeLessThanOrEqual(mostMs);
      expect(link.mode).toBe(mode);
      expect(run.found).toEqual([holdsAnswers]);
    },
  );
});
