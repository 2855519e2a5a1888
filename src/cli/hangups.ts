/** SIGHUP of a command: a new link is tried. Only for commands, since signals belong to the process. */
import { closeSync, openSync } from 'node:fs';
import type { Logger } from '../observability/logger.ts';

/**
 * SIGHUP says two things: "try again now" from a person or a script, and "your terminal is gone" from the kernel or a
 * shell. The latter must end a command that was started in a terminal, as it would without a handler; under nohup it
 * goes on.
 */
export function followHangups(program: { reconnect(): void }, logger: Logger): void {
  const inTerminal = process.stderr.isTTY === true;
  let leaving = false;
  process.on('SIGHUP', () => {
    if (!inTerminal || hasTerminal()) {
      logger.debug({ change: 'asked' }, 'the network may have changed');
      return program.reconnect();
    }
    // Both the kernel and the shell may tell of it.
    if (leaving) return;
    leaving = true;
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
    process.kill(process.pid, 'SIGTERM');
  });
}

function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}
