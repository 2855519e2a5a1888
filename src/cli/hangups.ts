/** SIGHUP makes a client or an exit try a new link. Only for commands, because signals belong to the process. */
import { closeSync, openSync } from 'node:fs';
import type { Logger } from '../observability/logger.ts';
import { attempt } from './attempt.ts';

/**
 * A person or a script sends SIGHUP to ask for a new link; the kernel or a shell sends it when the terminal is closed.
 * The latter must end a command that was started in a terminal, as it would without a handler. Under nohup the command
 * continues.
 */
export function followHangups(program: { reconnect(): void }, logger: Logger): void {
  const inTerminal = process.stderr.isTTY === true;
  let leaving = false;
  process.on('SIGHUP', () => {
    if (!inTerminal || hasTerminal()) {
      logger.debug({ change: 'asked' }, 'the network may have changed');
      return program.reconnect();
    }
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
