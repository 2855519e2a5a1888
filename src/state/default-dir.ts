/** Where a state directory is unless it is named. Apart from state-dir.ts, as `--help` shows the path. */
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** XDG Base Directory Specification: `$XDG_STATE_HOME` if absolute, else `~/.local/state`; then `wstun/ROLE`. */
export function defaultStateDir(role: 'relay' | 'exit' | 'client', env: NodeJS.ProcessEnv): string {
  const xdg = env.XDG_STATE_HOME;
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.local', 'state');
  return join(base, 'wstun', role);
}
