/** What a failed dial means. Details hold no text from the server, nor the target (it holds a ticket). Pure. */
import { WstunError } from '../../errors.ts';

export interface DialProgress {
  /** Host and port as dialled. */
  readonly where: string;
  /** TCP was connected. */
  readonly connected: boolean;
  /** The certificate of the other end did not verify. */
  readonly certificateFault: boolean;
}

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

const UNTRUSTED: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not yet valid: check the clock',
  CERT_REVOKED: 'it was revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate authority is not known here',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate authority is not known here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate authority is not known here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate authority is not known here',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it is for another host name',
};

/** A dial that ended without an HTTP answer. `code` is Node's; the errors of `ws` itself have none. */
export function dialFault(error: { readonly code?: string | undefined }, progress: DialProgress): WstunError {
  const { where, connected } = progress;
  const code = error.code ?? '';
  if (progress.certificateFault) return new WstunError('relay-untrusted', `${where}: ${UNTRUSTED[code] ?? code}`);
  if (code === 'EMFILE' || code === 'ENFILE') return new WstunError('out-of-descriptors', where);
  if (code === 'ETIMEDOUT') {
    return connected ? new WstunError('link-slow', where) : new WstunError('relay-unreachable', `${where}: no answer`);
  }
  if (code === '') return new WstunError('relay-odd-answer', `${where}: the answer is not a WebSocket`);
  if (code.startsWith('HPE_')) return new WstunError('relay-odd-answer', `${where}: the answer is not HTTP`);
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO')
    return new WstunError('relay-odd-answer', `${where}: the answer is not TLS`);
  if (code === 'ECONNRESET' && connected) {
    return new WstunError('relay-unreachable', `${where}: closed the connection without an answer`);
  }
  return new WstunError('relay-unreachable', `${where}: ${UNREACHABLE[code] ?? code}`);
}
