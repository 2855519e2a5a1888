/** `wstun relay --workers N`: the process that starts the workers, and with which its owner or systemd deals. */
import { serveControl } from '../app/control.ts';
import { DRAIN_MS } from '../app/options.ts';
import type { ServingStatus } from '../app/status.ts';
import { mergeStatus } from '../app/workers-status.ts';
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
  const workers = new WorkerProcesses({
    ...{ count, passed: passedSockets(process.env, process.pid), logger: output.logger },
    onChange: (worker, state) => {
      if (isReady) output.event({ event: 'worker', worker, state });
    },
  });
  const signalled = firstSignal(() => workers.close(0), output);
  const facts = (await workers.start()) as RelayFacts;
  followHangups(() => workers.reload());
  showReady(facts, options, output);
  isReady = true;
  const report = async (): Promise<ServingStatus> =>
    mergeStatus(facts.listen, (await workers.reports('status', REPORT_MS)) as readonly ServingStatus[]);
  const control = serveControl({ role: 'relay', state: facts.state, logger: output.logger, status: report });
  const latest = new LatestStatus(await report(), report);
  const screen = new ServingScreen(latest, { output, readsEnter: false });
  if (output.live !== undefined) latest.follow();
  screen.begin();
  const signal = await signalled;
  await latest.look();
  latest.stop();
  screen.showClosing();
  await workers.close(DRAIN_MS);
  await control.close();
  return signal;
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
