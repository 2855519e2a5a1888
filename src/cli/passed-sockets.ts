/** Listening sockets that a service manager passed, by sd_listen_fds(3). Listening shows whether they are sockets. */
import type { RelayOptions } from '../app/relay.ts';
import { WstunError } from '../errors.ts';

/** SD_LISTEN_FDS_START */
const FIRST_FD = 3;
/** A relay has one or two addresses. More are a mistake. */
const MAX_SOCKETS = 64;

export type PassedSocket = Extract<RelayOptions['listen'][number], { readonly fd: number }>;

type Environment = Readonly<Record<string, string | undefined>>;

/** Empty if none were passed, or to another process: variables are inherited. @throws WstunError bad-passed-socket */
export function passedSockets(environment: Environment, pid: number): PassedSocket[] {
  const { LISTEN_FDS: count, LISTEN_PID: meantFor, LISTEN_FDNAMES: names } = environment;
  if (count === undefined || meantFor === undefined) return [];
  if (numberOf('LISTEN_PID', meantFor) !== pid) return [];
  const sockets = numberOf('LISTEN_FDS', count);
  if (sockets > MAX_SOCKETS) throw new WstunError('bad-passed-socket', `LISTEN_FDS is more than ${MAX_SOCKETS}`);
  const named = names === undefined ? undefined : names.split(':');
  if (named !== undefined && named.length !== sockets)
    throw new WstunError('bad-passed-socket', `LISTEN_FDNAMES has ${named.length} names for ${sockets} sockets`);
  return Array.from({ length: sockets }, (_, i) => ({ fd: FIRST_FD + i, name: named?.[i] ?? '' }));
}

function numberOf(variable: string, text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new WstunError('bad-passed-socket', `${variable} is not a number`);
  return Number(text);
}
