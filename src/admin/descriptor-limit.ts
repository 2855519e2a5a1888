/** How many files this process may have open: the soft limit, which Node raises to the hard one when it starts. */
import { readFileSync } from 'node:fs';

/** Undefined where the system does not tell. */
export function descriptorLimit(): number | undefined {
  try {
    const found = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
    return found === null ? undefined : Number(found[1]);
  } catch {
    return undefined;
  }
}
