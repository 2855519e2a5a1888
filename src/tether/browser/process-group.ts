/** A process that leads a group of its own: itself, and all that it has started. */
import type { ChildProcess } from 'node:child_process';

/** Ends them at once. On Windows, which has no such groups, only the process itself. */
export function killGroup(leader: ChildProcess): void {
  const { pid } = leader;
  if (pid === undefined) return;
  try {
    if (process.platform === 'win32') leader.kill('SIGKILL');
    else process.kill(-pid, 'SIGKILL');
  } catch {
    // All of them have ended.
  }
}
