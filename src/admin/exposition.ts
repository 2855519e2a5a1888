/** Metrics as the text that Prometheus reads, and those of several processes together. The one place of prom-client. */
import type { Metric } from '../observability/metric.ts';

type Library = typeof import('prom-client');

/** What a page answers. */
export interface Exposition {
  readonly type: string;
  readonly text: string;
}

/** What several processes have together: sums, unless the table of metrics says otherwise. */
export type Add = (ofProcesses: readonly (readonly Metric[])[]) => Promise<readonly Metric[]>;

export interface MetricsWriter {
  write(metrics: readonly Metric[]): Promise<Exposition>;
  readonly add: Add;
}

let loaded: Promise<MetricsWriter> | undefined;

/**
 * Loads the library: at the start of what needs it, and not at the first question, which may come when the file
 * descriptors have run out.
 */
export function loadMetricsWriter(): Promise<MetricsWriter> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<MetricsWriter> {
  // It is CommonJS. A bundle of wstun has no other name for what it exports.
  const library: Library & { default?: Library } = await import('prom-client');
  const { AggregatorRegistry } = library.default ?? library;
  return {
    write: async (metrics) => {
      const registry = AggregatorRegistry.aggregate([[...metrics]]);
      return { type: registry.contentType, text: await registry.metrics() };
    },
    // What it takes as JSON it returns as JSON; its types have numbers in the place of the types' names.
    add: async (ofProcesses) =>
      (await AggregatorRegistry.aggregate([...ofProcesses]).getMetricsAsJSON()) as unknown as readonly Metric[],
  };
}
