/**
 * The admin pages of a wstun that runs, as Prometheus and a load balancer see them. Each reading of metrics is held to
 * what is true of all: `promtool check metrics` accepts it, it has what the table of metrics says of its role, with
 * labels from the lists there, and no counter has become less since the reading before.
 */
import { expect } from 'vitest';
import { FAULTS } from '../../../src/errors.ts';
import { METRICS, type MetricDefinition, type MetricRole } from '../../../src/observability/metric-table.ts';
import { until } from '../until.ts';
import { run } from './programs.ts';
import type { WstunProcess } from './wstun-process.ts';

/** Those whose values are not known in each state, or not on each system. */
const MAY_LACK_VALUES: ReadonlySet<string> = new Set([
  ...['wstun_sessions_ended_total', 'wstun_round_trip_seconds', 'wstun_links_limit'],
  ...['wstun_registration_failures_total', 'wstun_link_failures_total', 'wstun_refusals_total'],
]);
const CODES: ReadonlySet<string> = new Set(['', ...Object.values(FAULTS).map(({ code }) => code)]);

interface Sample {
  /** With its labels, as it was written. */
  readonly key: string;
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export class AdminPages {
  private before = new Map<string, number>();

  private constructor(
    readonly port: number,
    private readonly role: MetricRole,
  ) {}

  /** Of a process that was started with `--admin 127.0.0.1:0`. */
  static async of(process: WstunProcess, role: MetricRole): Promise<AdminPages> {
    const find = () => /"admin":"127\.0\.0\.1:(\d+)"/.exec(process.stderr)?.[1];
    await until(() => find() !== undefined, 20_000);
    return new AdminPages(Number(find()), role);
  }

  /** `200 ready` */
  async ready(): Promise<string> {
    return await this.get('readyz');
  }

  async healthy(): Promise<string> {
    return await this.get('healthz');
  }

  /** Values by `name{label="value"}`. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const response = await fetch(`http://127.0.0.1:${this.port}/metrics`);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const text = await response.text();
    expect(await run('promtool', ['check', 'metrics'], { input: text })).toMatchObject({ code: 0, stderr: '' });
    const samples = samplesOf(text);
    this.checkTable(text, samples);
    const now = new Map(samples.map(({ key, value }) => [key, value]));
    this.checkCounters(samples, now);
    return now;
  }

  private async get(page: string): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.port}/${page}`);
    return `${response.status} ${(await response.text()).trimEnd()}`;
  }

  private checkTable(text: string, samples: readonly Sample[]): void {
    const expected = Object.entries<MetricDefinition>(METRICS).filter(
      // Only in a cluster.
      ([name, { roles }]) => roles.includes(this.role) && !name.startsWith('wstun_cluster_'),
    );
    const shown = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => `${name} ${type}`);
    expect(new Set(shown)).toEqual(new Set(expected.map(([name, { type }]) => `${name} ${type}`)));
    for (const [name, { labels }] of expected) {
      const own = samples.filter(({ metric }) => metric === name);
      if (!MAY_LACK_VALUES.has(name)) expect(own.length, name).toBeGreaterThan(0);
      for (const sample of own) checkLabels(sample, labels);
    }
  }

  private checkCounters(samples: readonly Sample[], now: ReadonlyMap<string, number>): void {
    const counted = new Set(samples.filter(({ metric }) => typeOf(metric) !== 'gauge').map(({ key }) => key));
    for (const [key, value] of this.before) expect(now.get(key) ?? -1, key).toBeGreaterThanOrEqual(value);
    this.before = new Map([...now].filter(([key]) => counted.has(key)));
  }
}

function checkLabels({ key, labels }: Sample, defined: MetricDefinition['labels']): void {
  const { le: _bucket, ...own } = labels;
  expect(Object.keys(own), key).toEqual(Object.keys(defined));
  for (const [label, value] of Object.entries(own)) {
    const list = defined[label]?.split(', ') ?? [];
    if (label === 'code') expect(CODES, key).toContain(value);
    else if (label === 'reason') expect(value, key).toMatch(/^[a-z-]+$/);
    else if (list.length > 1) expect(list, key).toContain(value);
  }
}

function typeOf(metric: string): string {
  return (METRICS as Readonly<Record<string, MetricDefinition>>)[metric]?.type ?? '';
}

function samplesOf(text: string): readonly Sample[] {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const [, key = '', name = '', labels = '', value = ''] = /^((\w+)(?:\{(.*)\})?) (\S+)$/.exec(line) ?? [];
    const metric = Object.hasOwn(METRICS, name) ? name : name.replace(/_(?:bucket|sum|count)$/, '');
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, text]) => [label, text]);
    return { key, metric, labels: Object.fromEntries(pairs) as Sample['labels'], value: Number(value) };
  });
}
