/** `wstun relay --workers N`: the process that starts the workers, and with which its owner or systemd deals. */
import { serveControl } from '../app/control.ts';
import { DRAIN_MS } from '../app/options.ts';
import type { ServingStatus } from '../app/status.ts';
import { type AdminOfWorkers, openAdminOfWorkers } from '../app/workers-admin.ts';
import { mergeStatus } from '../app/workers-status.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort } from '../net/host-port.ts';
import { WorkerProcesses } from '../workers/processes.ts';
import type { Settled } from './config/settle.ts';
import { followHangups } from './hangups.ts';
import type { Output } from './output.ts';
import { passedSockets } from './passed-sockets.ts';
import { type RelayCommand, type RelayFacts, showReady } from './relay.ts';
import { ServingScreen } from './serving-screen.ts';
import { firstSignal } from './shutdown.ts';

/** For the workers to say what they serve, ms. */
const REPORT_MS = 1_000;
/** Between two looks at it, for the line at the bottom of a terminal. */
const LOOK_MS = 1_000;

export async function runWorkers(
  count: number,
  options: RelayCommand,
  output: Output,
  settled: Settled,
): Promise<NodeJS.Signals> {
  for (const warning of settled.warnings) output.logger.warn({}, warning);
  let isReady = false;
  const admin = options.admin && (await openAdminOfWorkers(options.admin, { reports: askAll, logger: output.logger }));
  let lose = (_error: WstunError): void => {};
  const lost = new Promise<WstunError>((resolve) => {
    lose = resolve;
  });
  const workers = new WorkerProcesses({
    ...{ count, passed: passedSockets(process.env, process.pid), logger: output.logger },
    adminPort: admin?.address.port,
    onEvent: (event) => output.event(event),
    onLost: (error) => lose(error),
    onChange: (worker, state, id) => {
      if (state === 'died') admin?.handleEnd(id);
      if (isReady) output.event({ event: 'worker', worker, state });
    },
  });
  function askAll(...parameters: Parameters<WorkerProcesses['reports']>): ReturnType<WorkerProcesses['reports']> {
    return workers.reports(...parameters);
  }
  const signalled = firstSignal(() => workers.close(0), output);
  const facts = await startAll(workers, admin);
  followHangups(() => workers.reload());
  showReady(facts, options, output);
  isReady = true;
  const report = async (): Promise<ServingStatus> => {
    const said = await workers.reports('status', REPORT_MS);
    return mergeStatus(
      facts.listen,
      said.map((each) => each.report as ServingStatus),
    );
  };
  const control = serveControl({ role: 'relay', state: facts.state, logger: output.logger, status: report });
  const latest = new LatestStatus(await report(), report);
  const screen = new ServingScreen(latest, { output, readsEnter: false });
  if (output.live !== undefined) latest.follow();
  screen.begin();
  const end = await Promise.race([signalled, lost]);
  await latest.look();
  latest.stop();
  screen.showClosing();
  await workers.close(DRAIN_MS);
  admin?.close();
  await control.close();
  if (end instanceof WstunError) throw end;
  return end;
}

async function startAll(workers: WorkerProcesses, admin: AdminOfWorkers | undefined): Promise<RelayFacts> {
  try {
    const facts = (await workers.start()) as RelayFacts;
    return { ...facts, admin: admin && formatHostPort(admin.address) };
  } catch (error) {
    admin?.close();
    throw error;
  }
}

/** What the workers said last: a terminal asks too often to ask them each time. */
class LatestStatus {
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private latest: ServingStatus,
    private readonly report: () => Promise<ServingStatus>,
  ) {}

  status(): ServingStatus {
    return this.latest;
  }

  async look(): Promise<void> {
    this.latest = await this.report();
  }

  follow(): void {
    this.timer = setInterval(() => void this.look(), LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
