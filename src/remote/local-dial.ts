/** Connects from this machine to where a forward leads: an address or a name that this machine resolves. */
import { connect, type Socket } from 'node:net';
import { AbortableWait } from '../async/abortable.ts';
import type { Clock } from '../clock.ts';
import { type WireFaultName, WstunError } from '../errors.ts';
import { dialFaultOf } from '../exit/target-dial-faults.ts';
import type { HostPort } from '../net/host-port.ts';
import { isSelfConnected } from '../net/self-connection.ts';

/** The exit waits 20 s for our answer. */
const DIAL_LIMIT_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;

/** Codes of getaddrinfo(3), in Node's words. */
const NAME_FAULTS: Readonly<Record<string, WireFaultName>> = {
  ENOTFOUND: 'dial-name-unknown',
  EAI_AGAIN: 'dial-name-failed',
  EAI_FAIL: 'dial-name-failed',
};

/** Paused, with half-closes. Rejects with a WstunError of a dial, within 10 s or when the signal fires. */
export function dialLocally({ host, port }: HostPort, signal: AbortSignal, clock: Clock): Promise<Socket> {
  const socket = connect({
    ...{ host, port, allowHalfOpen: true, noDelay: true },
    ...{ keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, autoSelectFamily: true },
  });
  const outcome = new AbortableWait<Socket>({
    ...{ clock, signal, limitMs: DIAL_LIMIT_MS },
    onExpired: (wait) => wait.reject(new WstunError('dial-timed-out')),
  });
  // Stays: an error before its reader takes over would end the process.
  socket.on('error', (error) => outcome.reject(new WstunError(faultOf(error))));
  socket.once('connect', () => {
    if (isSelfConnected(socket)) outcome.reject(new WstunError('dial-refused'));
    else outcome.resolve(socket);
  });
  outcome.promise.catch(() => socket.destroy());
  return outcome.promise;
}

function faultOf(error: NodeJS.ErrnoException): WireFaultName {
  return NAME_FAULTS[error.code ?? ''] ?? dialFaultOf(error);
}

/** What the exit is told of a dial. */
export function wireFaultOf(error: unknown): WireFaultName {
  if (!(error instanceof WstunError)) return 'internal';
  return DIAL_FAULTS.has(error.fault) ? (error.fault as WireFaultName) : 'dial-failed';
}

const DIAL_FAULTS: ReadonlySet<string> = new Set<WireFaultName>([
  ...(['dial-refused', 'dial-host-unreachable', 'dial-network-unreachable', 'dial-not-allowed'] as const),
  ...(['dial-timed-out', 'dial-name-unknown', 'dial-name-failed', 'dial-busy', 'dial-cancelled'] as const),
  'target-reset',
]);
