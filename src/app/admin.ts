/** The admin pages of a relay, an exit or a client: where they listen, and which metrics they show. */
import { AdminServer } from '../admin/admin-server.ts';
import { loadMetricsWriter } from '../admin/exposition.ts';
import { ProcessMetrics } from '../admin/process-metrics.ts';
import type { ProcessSums } from '../admin/process-sums.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import { type Metric, type MetricsSource, single } from '../observability/metric.ts';
import type { MetricRole } from '../observability/metric-table.ts';
import { isLoopback } from '../proxy/listen-check.ts';
import { whenListening } from './own-address.ts';
import { packageVersion } from './version.ts';

/** What a process says of itself. */
interface OwnFacts {
  readonly role: MetricRole;
  /** Each may give other metrics; those of the process come with them. */
  readonly sources: readonly MetricsSource[];
  /** As of AdminPages. */
  readonly whyNotReady: () => string | undefined;
  /** As of AdminPages. */
  readonly lacking?: (() => string | undefined) | undefined;
}

interface AdminOptions extends OwnFacts {
  /** Shows what this process has together with them. Default: its own alone. */
  readonly others?: Pick<ProcessSums<never>, 'together'> | undefined;
  readonly logger: Logger;
}

export interface Admin {
  readonly address: HostPort;
  close(): void;
}

/** The metrics of this process, also for another one that shows them. The process is measured until `close`. */
export class OwnMetrics implements MetricsSource {
  private readonly process: ProcessMetrics;

  constructor(private readonly facts: OwnFacts) {
    this.process = new ProcessMetrics({ role: facts.role, version: packageVersion() });
  }

  async collect(): Promise<readonly Metric[]> {
    const { sources, whyNotReady } = this.facts;
    const all = await Promise.all([...sources, this.process].map((source) => source.collect()));
    return [...all.flat(), single('wstun_ready', whyNotReady() === undefined ? 1 : 0)];
  }

  close(): void {
    this.process.close();
  }
}

function openText({ host }: HostPort): string {
  const what = 'health and metrics are shown at the admin address';
  return isLoopback(host) ? what : `${what}, to everyone who reaches it`;
}

/** Resolves when it listens. @throws WstunError cannot-listen */
export async function openAdmin(place: HostPort, options: AdminOptions): Promise<Admin> {
  const { whyNotReady, lacking, others, logger } = options;
  const writer = await loadMetricsWriter();
  const own = new OwnMetrics(options);
  const metrics = async () => {
    const ours = await own.collect();
    return writer.write(others === undefined ? ours : await others.together(ours));
  };
  const server = new AdminServer({ whyNotReady, lacking, metrics }, logger);
  try {
    const address = await whenListening([place], server.listen(place));
    logger.info({ admin: formatHostPort(address) }, openText(address));
    const close = (): void => {
      own.close();
      server.close();
    };
    return { address, close };
  } catch (error) {
    own.close();
    throw error;
  }
}
