/** Whether this process may use its terminal: a job in the background must leave it to the shell. */
import { readFileSync } from 'node:fs';
import { attempt } from './attempt.ts';

/** Where the system does not tell (only Linux does), true. */
export function isInForeground(): boolean {
  const stat = attempt(() => readFileSync('/proc/self/stat', 'latin1'), '');
  // After the program's name, which may contain anything: state, parent, group, session, terminal, its group.
  const fields = stat.replace(/^.*\)/s, '').trim().split(' ');
  return fields[2] === fields[5];
}
