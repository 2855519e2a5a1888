/** The state directory of a command: the named one, else the only one here with keys that it can mean. Creates none. */
import { existsSync, lstatSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { WstunError } from '../errors.ts';
import type { AccessRole } from '../state/access-list.ts';
import { defaultStateDir } from '../state/default-dir.ts';
import { hasIdentity } from '../state/identity-file.ts';
import { attempt } from './attempt.ts';
import { shellQuote } from './shell.ts';

export interface StateOption {
  /** From `--state` or $WSTUN_STATE. */
  readonly state?: string;
}

/** Where to look. Tests pass their own. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  /** Where services have their state, in directories whose names begin with "wstun". */
  readonly services: readonly string[];
  readonly passwd: string;
}

const HERE: Surroundings = { env: process.env, services: ['/var/lib', '/var/lib/private'], passwd: '/etc/passwd' };

/** For `wstun relay` and `wstun exit`, which create theirs. */
export function stateDirFor(role: 'relay' | 'exit', { state }: StateOption): string {
  return state ?? defaultStateDir(role, process.env);
}

/** For commands that read or change an existing directory. @throws WstunError state-ambiguous, state-missing */
export function findState({ state }: StateOption, here: Surroundings = HERE): string {
  if (state !== undefined) return state;
  const found = theOne(here);
  // A directory without keys can be listed, too: it is empty.
  const begun = found ?? defaults(here).find((path) => existsSync(path));
  if (begun === undefined) throw missing(here);
  return begun;
}

/**
 * For `access add`, which may create the first keys of a relay: then `isNew` is true.
 * @throws WstunError state-ambiguous, state-missing if a service on this machine has one that may be meant
 */
export function findStateToAdd(
  { state, role = 'client' }: StateOption & { readonly role?: AccessRole },
  here: Surroundings = HERE,
): { readonly path: string; readonly isNew: boolean } {
  if (state !== undefined) return { path: state, isNew: !hasIdentity(state) };
  const [relay = ''] = defaults(here);
  // Only the access list of a relay has exits.
  const found = role === 'exit' && hasIdentity(relay) ? relay : theOne(here);
  if (found !== undefined) return { path: found, isNew: false };
  if (elsewhere(here).length > 0) throw missing(here);
  return { path: relay, isNew: true };
}

/** ` --state DIR`, quoted for a shell; empty if commands find the directory without it. */
export function stateArgument(path: string, here: Surroundings = HERE): string {
  const [relay = '', exit = ''] = defaults(here);
  return path === relay && !hasIdentity(exit) ? '' : ` --state ${shellQuote(path)}`;
}

/** The directory of this machine's exit, if it has one. */
export function exitHere(here: Surroundings = HERE): string | undefined {
  return defaults(here).slice(1).find(hasIdentity);
}

function defaults({ env }: Surroundings): readonly string[] {
  return [defaultStateDir('relay', env), defaultStateDir('exit', env)];
}

function theOne(here: Surroundings): string | undefined {
  const [one, other] = defaults(here).filter(hasIdentity);
  if (one === undefined || other === undefined) return one;
  throw new WstunError('state-ambiguous', `${one} (a relay's) and ${other} (an exit's)`);
}

function missing(here: Surroundings): WstunError {
  const found = elsewhere(here);
  const places = `there are no keys in ${defaults(here).join(' or ')}`;
  if (found.length === 0) return new WstunError('state-missing', places);
  return new WstunError('state-missing', `${places}, but there is a state directory at ${found.join(' and at ')}`);
}

/** State directories of services, and of the user who called sudo. */
function elsewhere({ env, services, passwd }: Surroundings): string[] {
  const found = new Map<string, string>();
  const bases = services.flatMap((base) => {
    const names = attempt(() => readdirSync(base), []).filter((name) => name.startsWith('wstun'));
    return names.map((name) => join(base, name));
  });
  const home = env.SUDO_USER === undefined ? undefined : homeOf(env.SUDO_USER, passwd);
  if (home !== undefined) bases.push(join(home, '.local', 'state', 'wstun'));
  const below = ['', 'relay', 'exit', 'wstun/relay', 'wstun/exit'];
  for (const path of bases.flatMap((base) => below.map((each) => join(base, each)))) {
    const real = attempt(() => realpathSync(path), path);
    if (mayHaveKeys(path) && !found.has(real)) found.set(real, path);
  }
  return [...found.values()];
}

/** True also for a directory that cannot be read. */
function mayHaveKeys(path: string): boolean {
  try {
    statSync(join(path, 'identity.key'));
    return true;
  } catch (error) {
    return isClosed(error) && isSeen(path);
  }
}

/** Also true for a symlink into a directory that cannot be read, as systemd creates them. */
function isSeen(path: string): boolean {
  return attempt(() => lstatSync(path) !== undefined, false);
}

function isClosed(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EACCES';
}

function homeOf(user: string, passwd: string): string | undefined {
  const lines = attempt(() => readFileSync(passwd, 'utf8'), '').split('\n');
  return lines.find((line) => line.startsWith(`${user}:`))?.split(':')[5];
}
