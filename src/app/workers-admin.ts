/** The admin pages of a relay of several workers: what all of them count, together. */
import { loadMetricsWriter } from '../admin/exposition.ts';
import { ProcessSums } from '../admin/process-sums.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metric } from '../observability/metric.ts';
import { type Admin, openAdmin } from './admin.ts';
import type { Readiness } from './relay-node.ts';

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
  let latest: Readiness = { why: 'starting' };
  const sums = new ProcessSums<string>(add, async () => {
    for (const { worker, report } of await reports('metrics', ANSWER_MS)) sums.note(worker, report as Metric[]);
  });
  const look = async (): Promise<void> => {
    const said = (await reports('readiness', ANSWER_MS)).map(({ report }) => report as Readiness);
    // One that serves is enough: connections go to those that are there. What one lacks, some of its clients lack.
    const serving = said.filter(({ why }) => why === undefined);
    const lacking = serving.find((each) => each.lacking !== undefined)?.lacking;
    latest = serving.length > 0 ? { lacking } : { why: said[0]?.why ?? 'no worker serves' };
  };
  const timer = setInterval(() => void look(), LOOK_MS).unref();
  const readiness = { whyNotReady: () => latest.why, lacking: () => latest.lacking };
  const options = { role: 'relay', sources: [], ...readiness, others: sums, logger } as const;
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
