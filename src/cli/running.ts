/** Finds the wstun processes of this user on this machine, and asks them by their control sockets. */
import { type Control, findRunning } from '../app/control.ts';
import { toldIfLong } from '../async/long-wait.ts';
import { systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { defaultStateDir } from '../state/default-dir.ts';

export interface RunningOptions {
  readonly state?: string;
}

/** Open connections, at least one. @throws WstunError not-running, state-unusable */
export async function openRunning({ state }: RunningOptions): Promise<readonly Control[]> {
  const usual = (['client', 'relay', 'exit'] as const).map((role) => defaultStateDir(role, process.env));
  const found = await findRunning(state === undefined ? usual : [state]);
  if (found.length > 0) return found;
  throw new WstunError('not-running', state === undefined ? '' : `with the state directory ${state}`);
}

/** An answer of one of them. That it takes long is said: the process may be stopped. */
export function asked<T>({ place }: Control, answer: Promise<T>): Promise<T> {
  return toldIfLong(() => `the ${place.role} with process id ${place.pid} to answer`, answer, systemClock);
}
