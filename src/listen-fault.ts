/** The fault of an address that cannot be listened on: what the system says, and what to do about it. */
import { WstunError } from './errors.ts';

/** Why an address cannot be listened on, by the code of the system's error, and what to do about it. */
const LISTEN_FAULTS: Readonly<Record<string, readonly [reason: string, fix: string]>> = {
  EADDRINUSE: ['another program already listens there', 'Stop it, or choose another port'],
  EACCES: ['not permitted; ports below 1024 often need root', 'Start it as root, or choose another port'],
  EADDRNOTAVAIL: ['this machine does not have that address', 'Give an address of this machine'],
  ENOTFOUND: ['that name does not exist', 'Give an address of this machine'],
};

/** By which the address is given. */
export type ListenOption = '--listen' | '--tether' | '--acme-http' | '--dns-listen' | '--tproxy' | '--redirect';

export function cannotListen(
  { host, port }: { readonly host: string; readonly port: number },
  cause: unknown,
  option: ListenOption = '--listen',
): WstunError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason';
  const [reason, fix] = LISTEN_FAULTS[code] ?? [code, 'Give another address'];
  const shown = host.includes(':') ? `[${host}]` : host;
  const free = code === 'EADDRINUSE' && port < 65_535 ? `${shown}:${port + 1}` : 'HOST:PORT';
  return new WstunError('cannot-listen', `${shown}:${port}: ${reason}`, { cause, fix: `${fix}: ${option} ${free}.` });
}
