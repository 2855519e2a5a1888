/** A question before something that cannot be undone. */
import { createInterface } from 'node:readline';
import { WstunError } from '../errors.ts';

/** Time to answer, ms. No answer counts as a no. */
const ANSWER_LIMIT_MS = 300_000;

export interface ConfirmOptions {
  readonly yes?: boolean;
}

/** Whether somebody is there to answer. */
export function isWatched(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/** Asks on a terminal. Without a terminal, or with `yes`, nobody is asked. @throws WstunError not-confirmed */
export async function confirm(question: string, { yes = false }: ConfirmOptions): Promise<void> {
  if (yes || !isWatched()) return;
  if (!(await ask(`${question} Continue?`))) throw new WstunError('not-confirmed');
}

/** On a terminal. */
export async function ask(question: string): Promise<boolean> {
  process.stderr.write(`${question} [y/N] `);
  const answer = await readLine();
  if (answer === undefined) process.stderr.write('\n');
  return /^\s*y(es)?\s*$/i.test(answer ?? '');
}

/** Undefined if the terminal was closed or nobody answered. */
async function readLine(): Promise<string | undefined> {
  // Without line editing, so that Ctrl-C ends the process as usual.
  const lines = createInterface({ input: process.stdin, terminal: false });
  const limit = setTimeout(() => lines.close(), ANSWER_LIMIT_MS);
  try {
    for await (const line of lines) return line;
    return undefined;
  } finally {
    clearTimeout(limit);
    lines.close();
    // Not destroyed: a client reads its keys later. It keeps no process alive.
    process.stdin.pause();
    process.stdin.unref();
  }
}
