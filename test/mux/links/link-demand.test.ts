/** How many links are asked for, in virtual time, on paths of which the test says what they carry. */
import { describe, expect, it } from 'vitest';
import { LinkDemand } from '../../../src/mux/links/link-demand.ts';

const STEP_MS = 50;
const MINUTE_MS = 60_000;

interface Path {
  /** Bytes a ms, of so many links. */
  readonly rateOf: (links: number) => number;
  /** A hole each so many ms; 0: none. */
  readonly holeMs: number;
}

/** A session that sends all it can, and gets each link that it wants a moment later. */
class Sender {
  now = 0;
  links = 1;
  readonly demand = new LinkDemand(0);
  /** When another number was wanted, and which. */
  readonly changes: { readonly at: number; readonly wanted: number }[] = [];

  run(path: Path, ms: number, dialMs = 200): void {
    const end = this.now + ms;
    while (this.now < end) {
      this.now += STEP_MS;
      const holes = path.holeMs > 0 && this.now % path.holeMs < STEP_MS ? 1 : 0;
      this.demand.onAcked(path.rateOf(this.links) * STEP_MS, { holes, isBusy: true }, this.links, this.now);
      this.note();
      const last = this.changes.at(-1);
      if (last !== undefined && this.now >= last.at + dialMs) this.links = last.wanted;
    }
  }

  /** Nothing is sent, and nothing is asked. */
  rest(ms: number): void {
    this.now += ms;
    this.demand.handleTimeout(this.links, this.now);
    this.note();
  }

  private note(): void {
    const { wanted } = this.demand;
    if (wanted !== (this.changes.at(-1)?.wanted ?? 1)) this.changes.push({ at: this.now, wanted });
  }

  get wanted(): readonly number[] {
    return this.changes.map(({ wanted }) => wanted);
  }
}

/** One connection carries little, because packets get lost; each further one carries as much again. */
const LOSSY: Path = { rateOf: (links) => 100 * links, holeMs: 400 };
const CLEAN: Path = { rateOf: () => 500, holeMs: 0 };
/** Full, and it loses packets: further links only share it. */
const FULL: Path = { rateOf: () => 500, holeMs: 400 };

describe('Links for a path that loses packets', () => {
  it('links are asked for one by one, never sooner than 2 s after the last, up to six', () => {
    const sender = new Sender();
    sender.run(LOSSY, MINUTE_MS);
    expect(sender.wanted).toEqual([2, 3, 4, 5, 6]);
    const gaps = sender.changes.slice(1).map(({ at }, i) => at - Number(sender.changes[i]?.at));
    for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(2_000);
    expect(sender.changes.at(-1)?.at).toBeLessThan(20_000);
  });

  it('no more is asked for while the last one has not come', () => {
    const sender = new Sender();
    sender.run(LOSSY, 20_000, 15_000);
    expect(sender.wanted).toEqual([2, 3].slice(0, sender.changes.length));
    expect(sender.changes.length).toBeLessThanOrEqual(2);
  });

  it('links that help are kept for as long as packets get lost', () => {
    const sender = new Sender();
    sender.run(LOSSY, 10 * MINUTE_MS);
    expect(sender.wanted).toEqual([2, 3, 4, 5, 6]);
  });

  it('two lost packets are no reason for a link', () => {
    const sender = new Sender();
    sender.run({ ...LOSSY, holeMs: 2_500 }, MINUTE_MS);
    expect(sender.wanted).toEqual([]);
  });

  it('links are given back, one after the other, a minute after they were of use last', () => {
    const sender = new Sender();
    sender.run(LOSSY, 30_000);
    const since = sender.now;
    sender.run(CLEAN, 2 * MINUTE_MS);
    expect(sender.wanted.slice(5)).toEqual([5, 4, 3, 2, 1]);
    expect(Number(sender.changes[5]?.at) - since).toBeGreaterThanOrEqual(MINUTE_MS - 4_500);
    expect(Number(sender.changes[5]?.at) - since).toBeLessThanOrEqual(MINUTE_MS + 5_000);
  });

  it('a link that never comes is not wanted any more a minute after packets were lost last', () => {
    const sender = new Sender();
    sender.run(LOSSY, 5_000, Number.POSITIVE_INFINITY);
    expect(sender.wanted).toEqual([2]);
    sender.run(CLEAN, 2 * MINUTE_MS, Number.POSITIVE_INFINITY);
    expect(sender.wanted).toEqual([2, 1]);
  });

  it('links that only the peer wants are none that this end asks for, however long they are there', () => {
    const sender = new Sender();
    sender.links = 4;
    sender.run(CLEAN, 5 * MINUTE_MS);
    expect(sender.wanted).toEqual([]);
  });

  it('links that helped are asked for again as soon as packets get lost again', () => {
    const sender = new Sender();
    sender.run(LOSSY, 30_000);
    sender.run(CLEAN, 3 * MINUTE_MS);
    expect(sender.demand.wanted).toBe(1);
    sender.run(LOSSY, 5_000);
    expect(sender.demand.wanted).toBeGreaterThan(1);
  });
});

describe('Links for another path', () => {
  it.each<[string, Path]>([
    ['a path without losses', CLEAN],
    ['an idle session', { rateOf: () => 0, holeMs: 0 }],
    ['an application that sends little', { rateOf: () => 1, holeMs: 0 }],
  ])('%s never asks for a link', (_what, path) => {
    const sender = new Sender();
    sender.run(path, 5 * MINUTE_MS);
    sender.rest(MINUTE_MS);
    sender.run(path, MINUTE_MS);
    expect(sender.wanted).toEqual([]);
  });

  it('a path that is full asks for one more link, gives it back after a minute, and waits longer each time', () => {
    const sender = new Sender();
    sender.run(FULL, 40 * MINUTE_MS);
    expect(new Set(sender.wanted)).toEqual(new Set([2, 1]));
    const asked = sender.changes.filter(({ wanted }) => wanted === 2).map(({ at }) => at);
    const given = sender.changes.filter(({ wanted }) => wanted === 1).map(({ at }) => at);
    for (const [i, at] of given.entries()) {
      expect(at - Number(asked[i])).toBeGreaterThanOrEqual(MINUTE_MS);
      expect(at - Number(asked[i])).toBeLessThan(MINUTE_MS + 10_000);
    }
    const waits = given.slice(0, -1).map((at, i) => Number(asked[i + 1]) - at);
    for (const [i, wait] of waits.entries()) {
      expect(wait).toBeGreaterThanOrEqual(MINUTE_MS * 2 ** i);
      expect(wait).toBeLessThan(MINUTE_MS * 2 ** i + 5_000);
    }
    expect(waits.length).toBeGreaterThanOrEqual(3);
  });

  it('holes from before a long rest are no reason for a link', () => {
    const sender = new Sender();
    sender.run({ ...LOSSY, holeMs: 500 }, 1_000);
    sender.rest(MINUTE_MS);
    sender.run(CLEAN, 10_000);
    expect(sender.wanted).toEqual([]);
  });

  it('a session of which the clock says nothing for a day goes on', () => {
    const sender = new Sender();
    sender.rest(86_400_000);
    sender.run(LOSSY, MINUTE_MS);
    expect(sender.demand.wanted).toBe(6);
  });
});
