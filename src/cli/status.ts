/** `wstun status`: what runs here, as text or JSON, once or every second. */
import { type Control, statusIn } from '../app/control.ts';
import type { Status } from '../app/status.ts';
import { WstunError } from '../errors.ts';
import type { ClusterTexts } from './access-place.ts';
import { printLine } from './output.ts';
import { asked, openRunning, type RunningOptions } from './running.ts';
import { statusText } from './status-text.ts';
import { wholeScreen } from './terminal/whole-screen.ts';

interface StatusCommand extends RunningOptions, ClusterTexts {
  readonly json?: boolean;
  readonly watch?: boolean;
}

/** Rates are those since the question before. */
const FOR_RATES_MS = 1_000;
const WATCH_MS = 1_000;

export async function showStatus(options: StatusCommand): Promise<void> {
  if (options.cluster !== undefined) {
    const { showClusterStatus } = await import('./cluster-status.ts');
    return await showClusterStatus(options);
  }
  const running = await openRunning(options);
  try {
    await askAll(running);
    await new Promise((resolve) => setTimeout(resolve, FOR_RATES_MS));
    const first = await askAll(running);
    if (options.watch === true) await watch(running, first, options);
    else print(first, options);
  } finally {
    for (const control of running) control.close();
  }
}

/** Until a signal ends the process, nothing runs any more, or nobody reads: `wstun status --watch | head -n 1`. */
async function watch(running: readonly Control[], first: readonly Status[], options: StatusCommand): Promise<void> {
  let statuses = first;
  let isRead = true;
  process.stdout.once('error', () => {
    isRead = false;
  });
  const show = () => print(statuses, options);
  if (options.json !== true) process.stdout.on('resize', show);
  while (isRead) {
    show();
    await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
    statuses = await askAll(running);
  }
}

/** Those that still run. @throws WstunError not-running */
async function askAll(running: readonly Control[]): Promise<readonly Status[]> {
  const answers = await Promise.all(
    running.map((control) => asked(control, control.ask({ request: 'status' })).then(statusIn, noteFailed)),
  );
  const statuses = answers.flatMap((answer) => (answer instanceof WstunError ? [] : [answer]));
  if (statuses.length > 0) return statuses;
  throw answers.find((answer) => answer instanceof WstunError) ?? new WstunError('not-running');
}

/** Others can still be shown. */
function noteFailed(error: unknown): WstunError {
  return error instanceof WstunError ? error : new WstunError('internal', String(error));
}

function print(statuses: readonly Status[], { json = false, watch: isWatch = false }: StatusCommand): void {
  if (json) {
    for (const status of statuses) printLine(JSON.stringify(status));
    return;
  }
  const now = Date.now();
  const text = statuses.map((status) => statusText(status, now)).join('\n\n');
  const { isTTY, columns, rows } = process.stdout;
  // A serial line has the size 0: nobody has said it.
  if (isWatch && isTTY) process.stdout.write(wholeScreen(text, { columns: columns || 80, rows: rows || 24 }));
  else printLine(isWatch ? `${text}\n` : text);
}
