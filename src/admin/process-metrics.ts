/**
 * What a process uses: memory, file descriptors, processor time, how late its event loop is. What measures is installed
 * with the object, and gone with `close`.
 */
import { readdir, stat } from 'node:fs/promises';
import { constants, type PerformanceEntry, PerformanceObserver, performance } from 'node:perf_hooks';
import {
  byLabel,
  labelled,
  type Metric,
  type MetricsSource,
  type Sum,
  single,
  summedBy,
} from '../observability/metric.ts';
import type { MetricRole } from '../observability/metric-table.ts';
import { descriptorLimit } from './descriptor-limit.ts';
import { EventLoopDelay } from './event-loop-delay.ts';

const DESCRIPTORS = '/proc/self/fd';

const GC_KINDS: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weakcb',
};

/** What the types of Node 20 leave out. */
type CollectionEntry = PerformanceEntry & { readonly detail?: { readonly kind: number } };

export interface ProcessFacts {
  readonly role: MetricRole;
  /** Of wstun. */
  readonly version: string;
}

export class ProcessMetrics implements MetricsSource {
  private readonly delay = new EventLoopDelay();
  private readonly collections = new Map<string, Sum>();
  private readonly observer: PerformanceObserver;
  /** The last that could be read: without a free descriptor it cannot. */
  private limit: number | undefined;

  constructor(private readonly facts: ProcessFacts) {
    this.observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) this.noteCollection(entry);
    });
    for (const kind of Object.values(GC_KINDS)) this.collections.set(kind, { sum: 0, count: 0 });
    this.limit = descriptorLimit();
    this.observer.observe({ entryTypes: ['gc'] });
  }

  close(): void {
    this.observer.disconnect();
    this.delay.close();
  }

  async collect(): Promise<readonly Metric[]> {
    const { role, version } = this.facts;
    const { user, system } = process.cpuUsage();
    this.limit = descriptorLimit() ?? this.limit;
    const { limit } = this;
    return [
      labelled('wstun_build_info', [[{ role, version, node: process.version }, 1]]),
      single('wstun_process_start_time_seconds', performance.timeOrigin / 1000),
      byLabel('wstun_process_cpu_seconds_total', { user: user / 1e6, system: system / 1e6 }),
      single('wstun_process_open_fds', await openDescriptors(limit)),
      single('wstun_process_max_fds', limit),
      byLabel('wstun_memory_bytes', memory()),
      byLabel('wstun_event_loop_delay_seconds', { ...(await this.delay.take()) }),
      single('wstun_event_loop_busy_seconds_total', performance.eventLoopUtilization().active / 1000),
      summedBy('wstun_gc_pause_seconds', this.collections),
    ];
  }

  private noteCollection({ duration, detail }: CollectionEntry): void {
    const name = GC_KINDS[detail?.kind ?? 0] ?? 'other';
    const { sum, count } = this.collections.get(name) ?? { sum: 0, count: 0 };
    this.collections.set(name, { sum: sum + duration / 1000, count: count + 1 });
  }
}

/** Bytes, by kind. */
function memory(): Readonly<Record<string, number>> {
  try {
    const { rss, heapTotal, heapUsed, external, arrayBuffers } = process.memoryUsage();
    return { rss, heap_total: heapTotal, heap_used: heapUsed, external, array_buffers: arrayBuffers };
  } catch {
    // It reads a file in /proc, which fails when no descriptor is left.
    return {};
  }
}

/** Undefined where the system does not tell. */
async function openDescriptors(limit: number | undefined): Promise<number | undefined> {
  try {
    // Linux 6.2 and newer count them there; a list of 20,000 takes milliseconds.
    const { size } = await stat(DESCRIPTORS);
    // The list takes one itself.
    return size > 0 ? size : (await readdir(DESCRIPTORS)).length - 1;
  } catch (error) {
    const isFull = error instanceof Error && 'code' in error && error.code === 'EMFILE';
    return isFull ? limit : undefined;
  }
}
