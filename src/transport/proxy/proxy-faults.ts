/** What the answers and failures of a proxy mean, as faults. Pure. They hold no text of a proxy and no credentials. */
import { WstunError } from '../../errors.ts';
import { formatHostPort, type HostPort } from '../../net/host-port.ts';
import type { AnswerFault } from './connect-answer.ts';

/** What stands in every fault: the proxy's URL without credentials, and the relay. */
export interface ProxyPlace {
  /** `http://proxy:3128` */
  readonly proxy: string;
  readonly target: HostPort;
}

/** The names of schemes are from outside. */
const MAX_SCHEMES = 8;
const MAX_SCHEME_CHARS = 20;

/** An answer to CONNECT that is neither a success nor 407. */
export function statusFault(status: number, { proxy, target }: ProxyPlace): WstunError {
  const detail = `${proxy}, asked for ${formatHostPort(target)}: HTTP ${status}`;
  if (status === 403 || status === 405 || status === 501) {
    const fix =
      target.port === 443
        ? undefined
        : 'Many proxies allow only port 443: the relay must listen there, or whoever runs the proxy must allow its port.';
    return new WstunError('proxy-forbids', detail, fix === undefined ? {} : { fix });
  }
  // Without the name or the connection, squid answers 503, others 500, 502 or 504.
  if (status === 500 || (status >= 502 && status <= 504)) return new WstunError('proxy-cannot-connect', detail);
  return new WstunError('proxy-odd-answer', detail);
}

const ANSWERS: Readonly<Record<AnswerFault, string>> = {
  'not-http': 'the answer is not HTTP',
  'head-too-large': 'the head of its answer is over 64 KiB',
  'cut-short': 'it closed the connection without an answer',
};

export function answerFault(fault: AnswerFault, { proxy }: ProxyPlace): WstunError {
  return new WstunError('proxy-odd-answer', `${proxy}: ${ANSWERS[fault]}`);
}

/** @param schemes that it offers */
export function credentialsNeeded(
  { proxy }: ProxyPlace,
  schemes: readonly string[],
  has: { readonly credentials: boolean },
): WstunError {
  const shown = schemes.slice(0, MAX_SCHEMES).map((scheme) => scheme.slice(0, MAX_SCHEME_CHARS));
  const offer = shown.length === 0 ? 'it names no scheme' : `it offers ${shown.join(', ')}`;
  const fix = 'wstun speaks Basic, Digest and NTLM itself. For another scheme: --proxy-auth-command CMD.';
  return new WstunError('proxy-credentials-needed', `${proxy}: ${offer}`, has.credentials ? { fix } : {});
}

/** It says only that it accepts none of the schemes that it was offered (RFC 1928 §3). */
function socksCredentialsNeeded(proxy: string, has: { readonly credentials: boolean }): WstunError {
  if (has.credentials) {
    const fix = 'Of the schemes of SOCKS, wstun knows only user name and password.';
    return new WstunError('proxy-credentials-needed', `${proxy}: it accepts no user name and password`, { fix });
  }
  const fix = 'Give a user name and a password with --proxy-auth-file FILE.';
  return new WstunError('proxy-credentials-needed', `${proxy}: it accepts nobody without them`, { fix });
}

/** @param waitMs until the same credentials are tried again */
export function wrongPassword({ proxy }: ProxyPlace, waitMs: number): WstunError {
  const minutes = Math.max(1, Math.ceil(waitMs / 60_000));
  const when = minutes === 1 ? 'a minute' : `${minutes} minutes`;
  return new WstunError('proxy-wrong-password', `${proxy}: wrong password; the same one is tried again in ${when}`);
}

/** SOCKS replies (RFC 1928 §6, and SOCKS 4's). By the texts of the package `socks`, which has no codes. */
export function socksFault(message: string, place: ProxyPlace, has: { readonly credentials: boolean }): WstunError {
  const { proxy, target } = place;
  const reply = / - \(?(\w+)\)?$/.exec(message)?.[1] ?? '';
  const detail = `${proxy}, asked for ${formatHostPort(target)}: ${reply}`;
  if (message.includes('no accepted authentication type')) return socksCredentialsNeeded(proxy, has);
  if (reply === 'NotAllowed' || reply === 'RejectedIdent' || reply === 'RejectedDifferentIdent')
    return new WstunError('proxy-forbids', detail);
  if (message.includes('rejected connection')) return new WstunError('proxy-cannot-connect', detail);
  const said = message === 'Socket closed' ? ANSWERS['cut-short'] : 'the answer is not SOCKS';
  return new WstunError('proxy-odd-answer', `${proxy}: ${said}`);
}
