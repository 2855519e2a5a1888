/** Answers a Digest challenge for CONNECT (RFC 7616, and RFC 2617 where there is no qop). Pure but for its hashes. */
import { createHash } from 'node:crypto';
import type { Challenge } from './challenges.ts';
import type { ProxyCredentials } from './proxy-credentials.ts';

/** By their names in challenges, in lower case; the strongest first. */
const HASHES: readonly (readonly [name: string, hash: string])[] = [
  ['sha-512-256', 'sha512-256'],
  ['sha-256', 'sha256'],
  ['md5', 'md5'],
];

/** Of several challenges, the strongest that can be answered. */
export function strongestDigest(challenges: readonly Challenge[]): Challenge | undefined {
  const usable = challenges.filter((one) => rankOf(one) >= 0);
  return usable.sort((a, b) => rankOf(a) - rankOf(b))[0];
}

function rankOf(challenge: Challenge): number {
  const qop = challenge.parameters.get('qop');
  if (challenge.scheme.toLowerCase() !== 'digest' || !challenge.parameters.has('nonce')) return -1;
  if (qop !== undefined && !hasAuth(qop)) return -1;
  return HASHES.findIndex(([name]) => name === algorithmOf(challenge).name);
}

function hasAuth(qop: string): boolean {
  return qop.split(/[\s,]+/).some((one) => one.toLowerCase() === 'auth');
}

function algorithmOf({ parameters }: Challenge): { name: string; isSession: boolean } {
  const text = (parameters.get('algorithm') ?? 'MD5').toLowerCase();
  return { name: text.replace(/-sess$/, ''), isSession: text.endsWith('-sess') };
}

/** The proxy says: the password was right, the nonce too old. */
export function isStale({ parameters }: Challenge): boolean {
  return parameters.get('stale')?.toLowerCase() === 'true';
}

export interface DigestRequest {
  readonly method: string;
  /** The request target. */
  readonly uri: string;
  /** Random, at least 64 bits, as text without quotes. */
  readonly cnonce: string;
}

/** The value of Proxy-Authorization. Each nonce is used once. @param challenge of `strongestDigest` */
export function answerDigest(challenge: Challenge, credentials: ProxyCredentials, request: DigestRequest): string {
  const { parameters } = challenge;
  const { method, uri, cnonce } = request;
  const algorithm = algorithmOf(challenge);
  const hash = HASHES.find(([name]) => name === algorithm.name)?.[1] ?? 'md5';
  const h = (text: string): string => createHash(hash).update(text, 'utf8').digest('hex');
  const [realm, nonce] = [parameters.get('realm') ?? '', parameters.get('nonce') ?? ''];
  const user = credentials.exposeUser();
  const secret = h(`${user}:${realm}:${credentials.exposePassword()}`);
  const a1 = algorithm.isSession ? h(`${secret}:${nonce}:${cnonce}`) : secret;
  const a2 = h(`${method}:${uri}`);
  const nc = '00000001';
  const hasQop = parameters.has('qop');
  const response = hasQop ? h(`${a1}:${nonce}:${nc}:${cnonce}:auth:${a2}`) : h(`${a1}:${nonce}:${a2}`);
  const isHashed = parameters.get('userhash')?.toLowerCase() === 'true';
  const fields = [
    `username=${quoted(isHashed ? h(`${user}:${realm}`) : user)}`,
    `realm=${quoted(realm)}`,
    `nonce=${quoted(nonce)}`,
    `uri=${quoted(uri)}`,
    `response="${response}"`,
    ...optional('algorithm', parameters.get('algorithm')),
    ...optional('opaque', parameters.get('opaque'), quoted),
    // Also for -sess without qop: A1 has it.
    ...(hasQop || algorithm.isSession ? [`cnonce="${cnonce}"`] : []),
    ...(hasQop ? ['qop=auth', `nc=${nc}`] : []),
    ...(isHashed ? ['userhash=true'] : []),
  ];
  return `Digest ${fields.join(', ')}`;
}

function optional(name: string, value: string | undefined, form = (text: string) => text): string[] {
  return value === undefined ? [] : [`${name}=${form(value)}`];
}

/** RFC 9110 §5.6.4. */
function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
