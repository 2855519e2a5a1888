/** `wstun status`: what runs here, as text or JSON, once or every second. */
import { type Control, statusIn } from '../app/control.ts';
import type { Status } from '../app/status.ts';
import { WstunError } from '../errors.ts';
import { printLine } from './output.ts';
import { openRunning, type RunningOptions } from './running.ts';
import { statusText } from './status-text.ts';

interface StatusCommand extends RunningOptions {
  readonly json?: boolean;
  readonly watch?: boolean;
}

/** Rates are those since the question before. */
const FOR_RATES_MS = 1_000;
const WATCH_MS = 1_000;

/** To the top left, and nothing below: without the flicker of an empty screen. */
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

export async function showStatus(options: StatusCommand): Promise<void> {
  const running = await openRunning(options);
  try {
    await askAll(running);
    await new Promise((resolve) => setTimeout(resolve, FOR_RATES_MS));
    const first = await askAll(running);
    print(first, options);
    if (options.watch === true) await watch(running, options);
  } finally {
    for (const control of running) control.close();
  }
}

/** Until a signal ends the process, or nothing runs any more. */
async function watch(running: readonly Control[], options: StatusCommand): Promise<void> {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
    print(await askAll(running), options);
  }
}

/** Those that still run. @throws WstunError not-running */
async function askAll(running: readonly Control[]): Promise<readonly Status[]> {
  const answers = await Promise.all(
    running.map((control) => control.ask({ request: 'status' }).then(statusIn, noteFailed)),
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
  if (!isWatch || !process.stdout.isTTY) return printLine(isWatch ? `${text}\n` : text);
  // What is below the last line of the screen would scroll it.
  const rows = (process.stdout.rows ?? 24) - 1;
  const lines = text.split('\n').slice(0, rows);
  process.stdout.write(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE}\n`).join('')}${CLEAR_BELOW}`);
}
