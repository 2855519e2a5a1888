/** The metrics of several processes as one, and as text, by the library that wstun uses. */
import { describe, expect, it } from 'vitest';
import { loadMetricsWriter } from '../../src/admin/exposition.ts';
import { ProcessSums } from '../../src/admin/process-sums.ts';
import { Histogram } from '../../src/observability/histogram.ts';
import { byLabel, labelled, type Metric, single, timed } from '../../src/observability/metric.ts';

/** What a process says that has opened so many streams. */
function metricsOf(streams: number, startedAt = 1): readonly Metric[] {
  const histogram = new Histogram();
  for (let i = 0; i < streams; i++) histogram.observe(0.02);
  return [
    single('wstun_streams_opened_total', streams),
    single('wstun_streams_open', 1),
    single('wstun_process_start_time_seconds', startedAt),
    byLabel('wstun_event_loop_delay_seconds', { p50: streams / 1000 }),
    timed('wstun_handshake_seconds', histogram),
    labelled('wstun_build_info', [[{ role: 'relay', version: '1', node: 'v20' }, 1]]),
  ];
}

function valueIn(metrics: readonly Metric[], name: string, wanted?: string): number | undefined {
  const values = metrics.find((metric) => metric.name === name)?.values ?? [];
  return values.find(({ metricName }) => metricName === wanted)?.value;
}

async function sums(ask: () => Promise<void> = async () => {}): Promise<ProcessSums<number>> {
  return new ProcessSums((await loadMetricsWriter()).add, ask);
}

describe('ProcessSums', () => {
  it('several processes have sums together, the earliest start, the longest delay, and one build', async () => {
    const all = await sums();
    all.note(1, metricsOf(10, 7));
    all.note(2, metricsOf(20, 5));
    const together = await all.together(metricsOf(3, 9));
    expect(valueIn(together, 'wstun_streams_opened_total')).toBe(33);
    expect(valueIn(together, 'wstun_streams_open')).toBe(3);
    expect(valueIn(together, 'wstun_process_start_time_seconds')).toBe(5);
    expect(valueIn(together, 'wstun_event_loop_delay_seconds')).toBe(0.02);
    expect(valueIn(together, 'wstun_build_info')).toBe(1);
    expect(valueIn(together, 'wstun_handshake_seconds', 'wstun_handshake_seconds_count')).toBe(33);
    expect(valueIn(together, 'wstun_handshake_seconds', 'wstun_handshake_seconds_sum')).toBeCloseTo(33 * 0.02);
  });

  it('what processes have counted stays after their ends, also after a thousand of them', async () => {
    const all = await sums();
    let before = 0;
    for (let id = 0; id < 1_000; id++) {
      all.note(id, metricsOf(2));
      const shown = valueIn(await all.together(), 'wstun_streams_opened_total') ?? 0;
      all.handleEnd(id);
      const together = await all.together();
      const after = valueIn(together, 'wstun_streams_opened_total') ?? 0;
      expect(after).toBe(shown);
      expect(after).toBeGreaterThan(before);
      // What was of the moment is gone.
      expect(valueIn(together, 'wstun_streams_open')).toBeUndefined();
      before = after;
    }
    expect(before).toBe(2_000);
  });

  it('each process is asked before their sums are shown', async () => {
    let opened = 1;
    const all: ProcessSums<number> = await sums(async () => all.note(1, metricsOf(opened)));
    expect(valueIn(await all.together(), 'wstun_streams_opened_total')).toBe(1);
    opened = 5;
    expect(valueIn(await all.together(), 'wstun_streams_opened_total')).toBe(5);
  });

  it('metrics are the same after they went to another process as JSON', async () => {
    const all = await sums();
    const sent = JSON.parse(JSON.stringify(metricsOf(4))) as readonly Metric[];
    all.note(1, sent);
    const { write } = await loadMetricsWriter();
    expect(await write(await all.together())).toEqual(await write(metricsOf(4)));
  });
});

describe('the text for Prometheus', () => {
  it('has help and type of each metric, and a line for each value', async () => {
    const { write } = await loadMetricsWriter();
    const { type, text } = await write([byLabel('wstun_sessions', { attached: 2, detached: undefined })]);
    expect(type).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(text).toBe(
      [
        '# HELP wstun_sessions Sessions: attached ones have a link, detached ones wait for the next.',
        '# TYPE wstun_sessions gauge',
        'wstun_sessions{state="attached"} 2',
        '',
      ].join('\n'),
    );
  });
});
