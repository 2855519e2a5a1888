/**
 * What makes a client or an exit look after its links at once: a change of the network beneath, or a SIGHUP. Only for
 * commands: signals belong to the process.
 */
import { closeSync, openSync } from 'node:fs';
import type { NetworkChange } from '../tunnel/reconnect/network-change.ts';
import { watchNetwork } from '../tunnel/reconnect/network-watch.ts';

/** Until the process ends, without keeping it alive. */
export function followNetwork(onChange: (change: NetworkChange | 'asked') => void): void {
  watchNetwork({ onChange });
  followHangups(() => onChange('asked'));
}

/**
 * SIGHUP says two things: "try again now" from a person or a script, and "your terminal is gone" from the kernel or a
 * shell. The latter must end a command that was started in a terminal, as it would without a handler; under nohup it
 * goes on.
 */
function followHangups(onAsked: () => void): void {
  const inTerminal = process.stderr.isTTY === true;
  let leaving = false;
  process.on('SIGHUP', () => {
    if (!inTerminal || hasTerminal()) return onAsked();
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
