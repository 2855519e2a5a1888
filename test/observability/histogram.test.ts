import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Histogram, WAIT_BUCKETS, WORK_BUCKETS } from '../../src/observability/histogram.ts';
import { timed, timedBy } from '../../src/observability/metric.ts';
import { Tally } from '../../src/observability/tally.ts';

const SEED = 20_261_201;

it('Histogram counts each observation in every class that it fits, and its sum', () => {
  const lengths = fc.array(fc.double({ min: 0, max: 20, noNaN: true }), { maxLength: 60 });
  fc.assert(
    fc.property(lengths, fc.constantFrom(WAIT_BUCKETS, WORK_BUCKETS), (observed, bounds) => {
      const histogram = new Histogram(bounds);
      for (const seconds of observed) histogram.observe(seconds);
      const expected = [...bounds, Number.POSITIVE_INFINITY].map((bound) => [
        bound,
        observed.filter((seconds) => seconds <= bound).length,
      ]);
      expect(histogram.cumulative).toEqual(expected);
      expect(histogram.count).toBe(observed.length);
      expect(histogram.sum).toBeCloseTo(observed.reduce((sum, each) => sum + each, 0));
    }),
    { seed: SEED },
  );
});

it('a histogram as a metric has each class by its upper end, the sum and the number', () => {
  const histogram = new Histogram([0.1, 1]);
  for (const seconds of [0.1, 0.5, 7]) histogram.observe(seconds);
  const { name, type, aggregator, values } = timedBy('wstun_dial_seconds', { connected: histogram });
  expect([name, type, aggregator]).toEqual(['wstun_dial_seconds', 'histogram', 'sum']);
  const labels = { outcome: 'connected' };
  expect(values).toEqual([
    { metricName: 'wstun_dial_seconds_bucket', labels: { ...labels, le: '0.1' }, value: 1 },
    { metricName: 'wstun_dial_seconds_bucket', labels: { ...labels, le: '1' }, value: 2 },
    { metricName: 'wstun_dial_seconds_bucket', labels: { ...labels, le: '+Inf' }, value: 3 },
    { metricName: 'wstun_dial_seconds_sum', labels, value: 7.6 },
    { metricName: 'wstun_dial_seconds_count', labels, value: 3 },
  ]);
  expect(timed('wstun_handshake_seconds', undefined).values).toEqual([]);
});

it('Tally.together adds up what several have counted, in alphabetical order', () => {
  const [one, other] = [new Tally(), new Tally()];
  for (const name of ['late', 'early', 'late']) one.note(name);
  for (const name of ['late', 'forged']) other.note(name);
  expect(Object.entries(Tally.together([one, other]))).toEqual([
    ['early', 1],
    ['forged', 1],
    ['late', 3],
  ]);
});
