/** What a failed dial means. Details hold no text from the server, nor the target (it holds a ticket). Pure. */
import type { WstunError } from '../../errors.ts';
import { DialError, type Obstacle } from '../dial-obstacle.ts';

export interface DialProgress {
  /** Host and port as dialled. */
  readonly where: string;
  /** TCP was connected. */
  readonly connected: boolean;
  /** It was to be without TLS. */
  readonly isPlain?: boolean;
}

/** A server that expects TLS ends a connection that begins otherwise. */
const PERHAPS_TLS = {
  fix:
    'Check its address, that it is running, and that this network allows the connection. ' +
    'If it expects TLS, its URL must begin with wss://.',
};

/** In the place of a code of Node: the name was not resolved within the time limit. */
export const NAME_SLOW = 'NAME_SLOW';

const UNREACHABLE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  ECONNABORTED: 'connection aborted',
  EPIPE: 'connection reset',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the network',
  EADDRNOTAVAIL: 'no local address to connect from',
  EACCES: 'not permitted here',
  EPERM: 'not permitted here',
  ENOTFOUND: 'no such name',
  EAI_AGAIN: 'the name server does not answer',
  [NAME_SLOW]: 'its name was not resolved in time',
};

/** No address of the name is known. */
const NAME_CODES: ReadonlySet<string> = new Set(['ENOTFOUND', 'EAI_AGAIN', NAME_SLOW]);

/** In the place of a code of Node: no address of the relay can be dialled as the user chose. */
export const NO_IPV4 = 'NO_IPV4';
export const NO_IPV6 = 'NO_IPV6';
export const NO_SOURCE = 'NO_SOURCE';
export const NO_SOURCE_FAMILY = 'NO_SOURCE_FAMILY';

const NOT_AS_CHOSEN: Readonly<Record<string, { readonly reason: string; readonly fix: string }>> = {
  [NO_IPV4]: { reason: 'it has no IPv4 address (--ipv4)', fix: 'Leave out --ipv4.' },
  [NO_IPV6]: { reason: 'it has no IPv6 address (--ipv6)', fix: 'Leave out --ipv6.' },
  [NO_SOURCE]: {
    reason: 'this machine has no such interface with an address at the moment (--source)',
    fix: 'Connect that interface to its network, or give another one. wstun reconnects automatically.',
  },
  [NO_SOURCE_FAMILY]: {
    reason: 'none of its addresses can be reached from that local address: one has IPv4, the other IPv6 (--source)',
    fix: 'Give a local address of the other version of IP, or an interface that has both.',
  },
};

/** A code of Node or of the resolver, in words. */
export function reasonOf(code: string): string {
  return UNREACHABLE[code] ?? code;
}

/** An alert of the other end, as the versions of OpenSSL name it: some that came with TLS 1.1 say no ALERT. */
const ALERT =
  /^ERR_SSL_(?:(?:SSLV3|TLSV1|TLSV13|SSL\/TLS)_ALERT_([A-Z_]{1,40})|TLSV1_(UNRECOGNIZED_NAME|UNSUPPORTED_EXTENSION))$/;

/** A dial that ended without an HTTP answer. `code` is Node's; the errors of `ws` itself have none. */
export function dialFault(error: { readonly code?: string | undefined }, progress: DialProgress): WstunError {
  const { where, connected, isPlain = false } = progress;
  const code = error.code ?? '';
  if (code === 'EMFILE' || code === 'ENFILE') return new DialError('out-of-descriptors', where, 'local');
  if (code === 'ETIMEDOUT') {
    return connected
      ? new DialError('link-slow', where, 'silent')
      : new DialError('relay-unreachable', `${where}: no answer`, 'unreachable');
  }
  if (code === '') return new DialError('relay-odd-answer', `${where}: the answer is not a WebSocket`, 'answer');
  if (code.startsWith('HPE_')) return new DialError('relay-odd-answer', `${where}: the answer is not HTTP`, 'answer');
  const [, named, other] = ALERT.exec(code) ?? [];
  const alert = named ?? other;
  if (alert !== undefined)
    return new DialError(
      'tls-refused',
      `${where}: its alert is "${alert.toLowerCase().replaceAll('_', ' ')}"`,
      'not-tls',
    );
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO')
    return new DialError('relay-odd-answer', `${where}: the answer is not TLS`, 'not-tls');
  if (code === 'ECONNRESET' && connected) {
    const advice = isPlain ? PERHAPS_TLS : {};
    return new DialError('relay-unreachable', `${where}: closed the connection without an answer`, 'cut', advice);
  }
  const { reason, ...advice } = NOT_AS_CHOSEN[code] ?? { reason: reasonOf(code) };
  return new DialError('relay-unreachable', `${where}: ${reason}`, connected ? 'cut' : obstacleOf(code), advice);
}

function obstacleOf(code: string): Obstacle {
  if (code === NO_SOURCE) return 'local';
  if (code in NOT_AS_CHOSEN) return 'name';
  return NAME_CODES.has(code) ? 'name' : 'unreachable';
}
