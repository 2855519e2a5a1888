/** What is read when somebody asks for metrics: plain values, which other processes can be sent as JSON. Pure. */
import type { Histogram } from './histogram.ts';
import { METRICS, type MetricDefinition, type MetricName, type MetricType } from './metric-table.ts';

export type Labels = Readonly<Record<string, string>>;

interface MetricValue {
  readonly value: number;
  readonly labels: Labels;
  /** Of histograms and summaries: with `_bucket`, `_sum` or `_count` at the end. */
  readonly metricName?: string;
}

/** In the form of prom-client, which writes and adds them up. */
export interface Metric {
  readonly name: MetricName;
  readonly help: string;
  readonly type: MetricType;
  readonly aggregator: MetricDefinition['together'];
  readonly values: readonly MetricValue[];
}

/** Has metrics. Each reads what is counted anyway: between two calls nothing runs for it. */
export interface MetricsSource {
  collect(): readonly Metric[] | Promise<readonly Metric[]>;
}

function metric(name: MetricName, values: readonly MetricValue[]): Metric {
  const { help, type, together } = METRICS[name];
  return { name, help, type, aggregator: together, values };
}

/** One value without labels; undefined: none, because it is not known. */
export function single(name: MetricName, value: number | undefined): Metric {
  return metric(name, value === undefined ? [] : [{ value, labels: {} }]);
}

/** One value for each value of the only label. */
export function byLabel(name: MetricName, values: Readonly<Record<string, number | undefined>>): Metric {
  const [label = ''] = Object.keys(METRICS[name].labels);
  const known = Object.entries(values).filter(([, value]) => value !== undefined);
  return metric(
    name,
    known.map(([key, value = 0]) => ({ value, labels: { [label]: key } })),
  );
}

/** One value for each set of labels. */
export function labelled(name: MetricName, values: Iterable<readonly [labels: Labels, value: number]>): Metric {
  return metric(
    name,
    [...values].map(([labels, value]) => ({ value, labels })),
  );
}

/** Undefined: nothing is measured; then it has no values. */
export function timed(name: MetricName, histogram: Histogram | undefined): Metric {
  return metric(name, histogram === undefined ? [] : valuesOf(name, histogram, {}));
}

/** One histogram for each value of the only label. */
export function timedBy(name: MetricName, histograms: Readonly<Record<string, Histogram>> | undefined): Metric {
  const [label = ''] = Object.keys(METRICS[name].labels);
  const each = Object.entries(histograms ?? {});
  return metric(
    name,
    each.flatMap(([key, histogram]) => valuesOf(name, histogram, { [label]: key })),
  );
}

function valuesOf(name: MetricName, { cumulative, sum, count }: Histogram, labels: Labels): readonly MetricValue[] {
  return [
    ...cumulative.map(([bound, value]) => {
      const le = bound === Number.POSITIVE_INFINITY ? '+Inf' : String(bound);
      return { value, labels: { ...labels, le }, metricName: `${name}_bucket` };
    }),
    { value: sum, labels, metricName: `${name}_sum` },
    { value: count, labels, metricName: `${name}_count` },
  ];
}

/** Count and sum, without quantiles, for each value of the only label. */
export function summedBy(name: MetricName, sums: Iterable<readonly [key: string, of: Sum]>): Metric {
  const [label = ''] = Object.keys(METRICS[name].labels);
  return metric(
    name,
    [...sums].flatMap(([key, { sum, count }]) => [
      { value: sum, labels: { [label]: key }, metricName: `${name}_sum` },
      { value: count, labels: { [label]: key }, metricName: `${name}_count` },
    ]),
  );
}

export interface Sum {
  readonly sum: number;
  readonly count: number;
}
