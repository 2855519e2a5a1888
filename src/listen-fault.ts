/** The fault of an address that cannot be listened on: what the system says, and what to do about it. */
import { WstunError } from './errors.ts';

/** Why an address cannot be listened on, by the code of the system's error, and what to do about it. */
const LISTEN_FAULTS: Readonly<Record<string, readonly [reason: string, fix: string]>> = {
  EADDRINUSE: ['another program already listens there', 'Stop it, or choose another port'],
  EACCES: ['not permitted; ports below 1024 often need root', 'Start it as root, or choose another port'],
  EADDRNOTAVAIL: ['this machine does not have that address', 'Give an address of this machine'],
  ENOTFOUND: ['that name does not exist', 'Give an address of this machine'],
};

const PATH_FAULTS: Readonly<Record<string, readonly [reason: string, fix: string]>> = {
  EADDRINUSE: ['another program listens there, or it is a file of another kind', 'Choose another path'],
  // libuv says so where there is no directory, too.
  EACCES: ['there is no such directory, or this user may not write there', 'Choose another path'],
  ENAMETOOLONG: ['the path is too long for a socket', 'Choose one of 103 bytes at most'],
};

/** By which the address is given. */
export type ListenOption =
  | '--listen'
  | '--admin'
  | '--tether'
  | '--acme-http'
  | '--dns-listen'
  | '--tproxy'
  | '--redirect'
  | '--local-forward';

export function cannotListen(
  { host, port }: { readonly host: string; readonly port: number },
  cause: unknown,
  option: ListenOption = '--listen',
): WstunError {
  const code = codeOf(cause);
  const [reason, fix] = LISTEN_FAULTS[code] ?? [code, 'Give another address'];
  const shown = host.includes(':') ? `[${host}]` : host;
  const free = code === 'EADDRINUSE' && port < 65_535 ? `${shown}:${port + 1}` : 'HOST:PORT';
  const value = option === '--local-forward' ? `${free.replace('HOST', 'BIND')}:HOST:PORT` : free;
  return new WstunError('cannot-listen', `${shown}:${port}: ${reason}`, { cause, fix: `${fix}: ${option} ${value}.` });
}

/** The same of a socket in the file system. */
export function cannotListenAtPath(path: string, cause: unknown, option: ListenOption): WstunError {
  const code = codeOf(cause);
  const [reason, fix] = PATH_FAULTS[code] ?? [code, 'Give another path'];
  return new WstunError('cannot-listen', `${path}: ${reason}`, {
    cause,
    fix: `${fix}: ${option} unix:PATH:HOST:PORT.`,
  });
}

function codeOf(cause: unknown): string {
  return typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : 'unknown reason';
}
