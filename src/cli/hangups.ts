/** SIGHUP makes a program look again: at its configuration, at its links. For commands: signals are the process's. */
import { closeSync, openSync } from 'node:fs';
import { attempt } from './attempt.ts';

/**
 * A person or a script sends SIGHUP to ask for that; the kernel or a shell sends it when the terminal is closed.
 * The latter must end a command that was started in a terminal, as it would without a handler. Under nohup the command
 * continues.
 */
export function followHangups(onAsked: () => void): void {
  const inTerminal = process.stderr.isTTY === true;
  let leaving = false;
  process.on('SIGHUP', () => {
    if (!inTerminal || hasTerminal()) return onAsked();
    // The kernel and the shell may both send it.
    if (leaving) return;
    leaving = true;
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
    process.kill(process.pid, 'SIGTERM');
  });
}

/** Whether there is one whose keys send signals. */
export function hasTerminal(): boolean {
  const terminal = attempt(() => openSync('/dev/tty', 'r'), undefined);
  if (terminal !== undefined) closeSync(terminal);
  return terminal !== undefined;
}
