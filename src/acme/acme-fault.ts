/** What an authority's problem documents (RFC 8555 §6.7, RFC 7807) mean to the owner of a relay. */
import { type FaultName, WstunError } from '../errors.ts';

const PREFIX = 'urn:ietf:params:acme:error:';
const MAX_DETAIL = 300;

export class AcmeFault extends WstunError {
  /** @param retryAfterMs what the authority asked for; 0 if nothing */
  constructor(
    fault: FaultName,
    detail: string,
    readonly retryAfterMs = 0,
    options: ErrorOptions = {},
  ) {
    super(fault, shown(detail), options);
  }
}

/** Of an answer to a request. @param body parsed JSON, or anything */
export function faultOfAnswer(status: number, body: unknown, retryAfterMs: number): AcmeFault {
  const problem = problemOf(body);
  if (problem === undefined) return new AcmeFault('acme-rejected', `HTTP ${status}`, retryAfterMs);
  const fault = FAULTS_OF_ANSWERS[problem.type] ?? 'acme-rejected';
  if (problem.type === 'externalAccountRequired')
    return new AcmeFault('acme-rejected', `${problem.detail} (--acme-eab)`);
  const isLimit = status === 429 || problem.type === 'rateLimited';
  return new AcmeFault(isLimit ? 'acme-rate-limited' : fault, problem.detail, retryAfterMs);
}

/** Of a challenge that failed. @param kind of the challenge @param error of its challenge object (RFC 8555 §8) */
export function faultOfChallenge(name: string, kind: string, error: unknown): AcmeFault {
  const problem = problemOf(error);
  const fault = FAULTS_OF_CHALLENGES[problem?.type ?? ''] ?? 'acme-rejected';
  return new AcmeFault(fault, `${name} (${kind}): ${problem?.detail ?? 'without a reason'}`);
}

export function isBadNonce(status: number, body: unknown): boolean {
  return status === 400 && problemOf(body)?.type === 'badNonce';
}

const FAULTS_OF_ANSWERS: Readonly<Record<string, FaultName>> = {
  caa: 'acme-caa-forbids',
  dns: 'acme-name-elsewhere',
};

const FAULTS_OF_CHALLENGES: Readonly<Record<string, FaultName>> = {
  caa: 'acme-caa-forbids',
  connection: 'acme-port-closed',
  dns: 'acme-name-elsewhere',
  incorrectResponse: 'acme-name-elsewhere',
  rateLimited: 'acme-rate-limited',
  tls: 'acme-name-elsewhere',
  unauthorized: 'acme-name-elsewhere',
};

/** The first of several problems says more than their sum. */
function problemOf(body: unknown): { readonly type: string; readonly detail: string } | undefined {
  if (!isObject(body)) return undefined;
  const [first] = Array.isArray(body.subproblems) ? body.subproblems : [];
  if (isObject(first) && typeof first.type === 'string') return problemOf({ ...first, subproblems: [] });
  if (typeof body.type !== 'string') return undefined;
  const type = body.type.replace(PREFIX, '');
  return { type, detail: typeof body.detail === 'string' ? body.detail : type };
}

/** One line, without tokens of the challenge. */
function shown(detail: string): string {
  const line = detail.replace(/\p{C}+|\s+/gu, ' ').replace(/[\w-]{40,}/g, '…');
  return (line.length > MAX_DETAIL ? `${line.slice(0, MAX_DETAIL)}…` : line).trim().replace(/\.$/, '');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
