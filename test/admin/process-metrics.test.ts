/** @module-tag waits */
import { closeSync, openSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it, onTestFinished } from 'vitest';
import { ProcessMetrics } from '../../src/admin/process-metrics.ts';
import type { Metric } from '../../src/observability/metric.ts';
import { until } from '../support/until.ts';

function measure(): ProcessMetrics {
  const metrics = new ProcessMetrics({ role: 'relay', version: '1.2.3' });
  onTestFinished(() => metrics.close());
  return metrics;
}

function valueIn(metrics: readonly Metric[], name: string, label = '', metricName?: string): number {
  const values = metrics.find((metric) => metric.name === name)?.values ?? [];
  const found = values.find((value) => value.metricName === metricName && Object.values(value.labels).includes(label));
  return (label === '' ? values[0] : found)?.value ?? Number.NaN;
}

it('ProcessMetrics counts descriptors as they are opened, and knows their limit', async () => {
  const metrics = measure();
  const before = await metrics.collect();
  const opened = Array.from({ length: 50 }, () => openSync('/dev/null', 'r'));
  const after = await metrics.collect();
  for (const descriptor of opened) closeSync(descriptor);
  const open = valueIn(after, 'wstun_process_open_fds');
  expect(open - valueIn(before, 'wstun_process_open_fds')).toBeGreaterThanOrEqual(45);
  expect(valueIn(after, 'wstun_process_max_fds')).toBeGreaterThan(open);
});

it('ProcessMetrics shows how late the event loop was since the reading before, in whichever moment that began', async () => {
  const metrics = measure();
  await metrics.collect();
  for (const afterMs of [0, 5, 50]) {
    if (afterMs > 0) await delay(afterMs);
    const blockedUntil = performance.now() + 300;
    while (performance.now() < blockedUntil);
    const busy = await metrics.collect();
    expect(valueIn(busy, 'wstun_event_loop_delay_seconds', 'max')).toBeGreaterThan(0.2);
    expect(valueIn(busy, 'wstun_event_loop_busy_seconds_total')).toBeGreaterThan(0.29);
    const idle = await metrics.collect();
    expect(valueIn(idle, 'wstun_event_loop_delay_seconds', 'max')).toBeLessThan(0.2);
  }
});

it('ProcessMetrics counts full collections and how long they took', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const metrics = measure();
  const read = async (part: string) =>
    valueIn(await metrics.collect(), 'wstun_gc_pause_seconds', 'major', `wstun_gc_pause_seconds_${part}`);
  const before = await read('count');
  collectGarbage();
  collectGarbage();
  let count = before;
  await until(() => {
    void read('count').then((now) => {
      count = now;
    });
    return count >= before + 2;
  });
  expect(await read('sum')).toBeGreaterThan(0);
});
