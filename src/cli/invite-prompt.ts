/** Asks for an invite on a terminal, without showing it: a scrollback keeps what was shown. */
import { WstunError } from '../errors.ts';
import { isWatched } from './confirm.ts';
import { isInForeground } from './foreground.ts';
import { PastedInvite, type PromptStep } from './pasted-invite.ts';

/** The parts of a paste follow one another faster, also over a slow connection. */
const QUIET_MS = 200;
/** Time to find it, ms. */
const ANSWER_LIMIT_MS = 300_000;

/** Whether somebody is there to paste one. A background job that reads from its terminal would be stopped. */
export function canPrompt(): boolean {
  return isWatched() && isInForeground();
}

/**
 * The text with an invite that passed `check`.
 * @param question begins a sentence
 * @throws WstunError what `check` threw the third time; invite-missing if the terminal was closed, or nobody answered
 * for five minutes
 */
export async function promptForInvite(question: string, check: (text: string) => void): Promise<string> {
  const { stdin, stderr } = process;
  const prompt = new PastedInvite(check);
  const show = (text: string) => stderr.write(`\r\u001b[KInvite: ${text}`);
  const before = stdin.isRaw;
  // Before anybody is asked, so that not even the first characters are echoed.
  stdin.setRawMode(true);
  stderr.write(`${question}, then press Enter. It is not shown.\r\n`);
  show('');
  try {
    const found = await readSteps(prompt, show);
    stderr.write('\n');
    return found;
  } finally {
    stdin.setRawMode(before);
    stdin.pause();
  }
}

async function readSteps(prompt: PastedInvite, show: (text: string) => void): Promise<string> {
  return await new Promise((resolve, reject) => {
    let quiet: NodeJS.Timeout | undefined;
    let hasEnded = false;
    const end = (act: () => void) => {
      hasEnded = true;
      clearTimeout(quiet);
      clearTimeout(limit);
      process.stdin.off('data', onData).off('end', onEnd);
      act();
    };
    const missing = () => {
      process.stderr.write('\n');
      reject(new WstunError('invite-missing'));
    };
    const onStep = (step: PromptStep) => {
      if (step.type === 'more') show(step.shown);
      else if (step.type === 'found') {
        show(step.shown);
        end(() => resolve(step.text));
      } else if (step.type === 'failed') {
        process.stderr.write('\n');
        if (step.isLast) return end(() => reject(step.error));
        process.stderr.write(`wstun: ${step.error.message}\n`);
        show('');
      } else if (step.type === 'closed') end(missing);
      else end(interrupt);
    };
    const onData = (data: Buffer) => {
      clearTimeout(quiet);
      onStep(prompt.handleInput(data.toString('utf8')));
      if (!hasEnded) quiet = setTimeout(() => onStep(prompt.handleQuiet()), QUIET_MS);
    };
    const onEnd = () => end(missing);
    const limit = setTimeout(onEnd, ANSWER_LIMIT_MS);
    process.stdin.on('data', onData).on('end', onEnd);
  });
}

/** As Ctrl-C on a terminal that is not raw. */
function interrupt(): void {
  process.stdin.setRawMode(false);
  process.stderr.write('\n');
  process.kill(process.pid, 'SIGINT');
}
