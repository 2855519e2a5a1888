/** The admin pages of a relay of several workers: what all of them count, together. */
import { loadMetricsWriter } from '../admin/exposition.ts';
import { ProcessSums } from '../admin/process-sums.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metric } from '../observability/metric.ts';
import { type Admin, openAdmin } from './admin.ts';

/** Between two looks at whether the workers can do their work, ms. */
const LOOK_MS = 1_000;
/** For their answers, ms: below the time limit of a reading. */
const ANSWER_MS = 2_000;

export interface AdminOfWorkersOptions {
  /** What each worker that answers in time says of that. */
  readonly reports: (
    of: 'metrics' | 'readiness',
    limitMs: number,
  ) => Promise<readonly { readonly worker: string; readonly report: unknown }[]>;
  readonly logger: Logger;
}

export interface AdminOfWorkers extends Admin {
  /** One of them has ended: what it had counted stays. */
  handleEnd(worker: string): void;
}

/** @throws WstunError cannot-listen */
export async function openAdminOfWorkers(
  place: HostPort,
  { reports, logger }: AdminOfWorkersOptions,
): Promise<AdminOfWorkers> {
  const { add } = await loadMetricsWriter();
  let why: string | undefined = 'starting';
  const sums = new ProcessSums<string>(add, async () => {
    for (const { worker, report } of await reports('metrics', ANSWER_MS)) sums.note(worker, report as Metric[]);
  });
  const look = async (): Promise<void> => {
    const said = (await reports('readiness', ANSWER_MS)).map(({ report }) => String(report));
    // One that serves is enough: connections go to those that are there.
    why = said.includes('') ? undefined : (said[0] ?? 'no worker serves');
  };
  const timer = setInterval(() => void look(), LOOK_MS).unref();
  const options = { role: 'relay', sources: [], whyNotReady: () => why, others: sums, logger } as const;
  const admin = await openAdmin(place, options).catch((error: unknown) => {
    clearInterval(timer);
    throw error;
  });
  return {
    address: admin.address,
    handleEnd: (worker) => sums.handleEnd(worker),
    close: () => {
      clearInterval(timer);
      admin.close();
    },
  };
}
