import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { flowOf, Throughput } from '../../src/tether/page/throughput.ts';

/** Notes counts each `everyMs`, as bytes/s up and down. */
function noted(everyMs: number, forMs: number, rates: { readonly up: number; readonly down: number }): Throughput {
  const throughput = new Throughput();
  for (let at = 0; at <= forMs; at += everyMs)
    throughput.note(at, { up: (rates.up * at) / 1_000, down: (rates.down * at) / 1_000 });
  return throughput;
}

describe('the throughput that the page shows', () => {
  it('a constant rate is told as it is, and its line is flat', () => {
    const throughput = noted(250, 20_000, { up: 30_000, down: 1_000_000 });
    expect(throughput.rate('up')).toBeCloseTo(30_000);
    expect(throughput.rate('down')).toBeCloseTo(1_000_000);
    for (const { y } of throughput.line()) expect(y).toBeCloseTo(1);
  });

  it('the line shows the last twelve seconds, up to now', () => {
    const line = noted(250, 60_000, { up: 0, down: 1_000_000 }).line();
    expect(line[0]?.x).toBeCloseTo(0);
    expect(line.at(-1)?.x).toBe(1);
    expect(line).toHaveLength(49);
  });

  it('a rate is nothing three seconds after the last byte', () => {
    const throughput = noted(250, 10_000, { up: 0, down: 1_000_000 });
    for (let at = 10_250; at <= 13_000; at += 250) throughput.note(at, { up: 0, down: 10_000_000 });
    expect(throughput.rate('down')).toBe(0);
  });

  it('what keeps a link alive is no peak', () => {
    for (const { y } of noted(250, 20_000, { up: 100, down: 100 }).line()) expect(y).toBeLessThan(0.02);
  });

  it('without two counts there is neither a rate nor a line', () => {
    const throughput = new Throughput();
    expect([throughput.rate('up'), throughput.line()]).toEqual([0, []]);
    throughput.note(0, { up: 5, down: 5 });
    throughput.note(0, { up: 9, down: 9 });
    expect(throughput.rate('up')).toBe(0);
  });

  it('whenever the counts come, the line is in order and within its bounds, and has a bounded number of points', () => {
    const steps = fc.array(fc.record({ ms: fc.nat(30_000), up: fc.nat(1e9), down: fc.nat(1e9) }), { maxLength: 200 });
    fc.assert(
      fc.property(steps, (taken) => {
        const throughput = new Throughput();
        let [at, up, down] = [0, 0, 0];
        for (const step of taken) {
          [at, up, down] = [at + step.ms, up + step.up, down + step.down];
          throughput.note(at, { up, down });
          const line = throughput.line();
          expect(line.length).toBeLessThan(64);
          for (const [i, { x, y }] of line.entries()) {
            expect(x).toBeGreaterThanOrEqual(line[i - 1]?.x ?? 0);
            expect(x).toBeLessThanOrEqual(1);
            expect(y >= 0 && y <= 1).toBe(true);
          }
        }
      }),
      { seed: 20_261_130, numRuns: 100 },
    );
  });
});

describe('the movement along the drawing', () => {
  it('nothing moves while a link is only kept alive', () => {
    expect(flowOf(100, 50)).toBeUndefined();
  });

  it('it goes the way of most bytes, faster with the rate, within limits', () => {
    expect(flowOf(1_000_000, 20_000)?.way).toBe('up');
    const speeds = [200, 1_250, 125_000, 12_500_000, 1e12].map((down) => flowOf(0, down));
    expect(speeds.map((flow) => flow?.way)).toEqual(['down', 'down', 'down', 'down', 'down']);
    expect(speeds.map((flow) => flow?.speed)).toEqual([0.5, 0.5, 1.5, 2.5, 3]);
  });
});
