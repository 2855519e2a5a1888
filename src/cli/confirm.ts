/** A question before something that cannot be undone. */
import { createInterface } from 'node:readline';
import { WstunError } from '../errors.ts';

/** Who is asked may look something up; after that it counts as a no, ms. */
const ANSWER_LIMIT_MS = 300_000;

export interface ConfirmOptions {
  readonly yes?: boolean;
}

/** A person sees what stands on stderr, and can answer. */
function isWatched(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/** Asks on a terminal; elsewhere, and with `yes`, it is a yes. @throws WstunError not-confirmed */
export async function confirm(question: string, { yes = false }: ConfirmOptions): Promise<void> {
  if (yes || !isWatched()) return;
  process.stderr.write(`${question} Continue? [y/N] `);
  const answer = await readLine();
  if (answer === undefined) process.stderr.write('\n');
  if (!/^\s*y(es)?\s*$/i.test(answer ?? '')) throw new WstunError('not-confirmed');
}

/** Undefined where the terminal was closed, or nobody answers. */
async function readLine(): Promise<string | undefined> {
  // Not the terminal's own editing: Ctrl-C then ends the process as everywhere.
  const lines = createInterface({ input: process.stdin, terminal: false });
  const limit = setTimeout(() => lines.close(), ANSWER_LIMIT_MS);
  try {
    for await (const line of lines) return line;
    return undefined;
  } finally {
    clearTimeout(limit);
    lines.close();
    process.stdin.destroy();
  }
}
