/** The error responses to HTTP programs: a status, and a page of plain text that says why. Pure. */
import { STATUS_CODES } from 'node:http';
import { describeFault, type FaultName, WstunError } from '../errors.ts';
import { serialiseHead } from './http1/fields.ts';
import type { HttpAnswer } from './own-answers.ts';

/** RFC 9110 §15; all others are 502 (Bad Gateway). */
const STATUS: Readonly<Partial<Record<FaultName, number>>> = {
  'proxy-malformed': 400,
  'dial-not-allowed': 403,
  'quota-used': 403,
  'proxy-unauthorised': 407,
  'proxy-timed-out': 408,
  'dial-busy': 503,
  'link-lost': 503,
  'not-connected': 503,
  'exit-absent': 503,
  'proxy-busy': 503,
  'shutting-down': 503,
  'dial-timed-out': 504,
};
const BAD_GATEWAY = 502;

export interface HttpRefusal extends HttpAnswer {
  readonly fault: FaultName;
}

export function refusalOf(fault: FaultName, detail = '', status = STATUS[fault] ?? BAD_GATEWAY): HttpRefusal {
  const body = `${describeFault(fault, detail)}\n`;
  return { fault, status, headers: headersOf(status, body), body };
}

/** Anything but a WstunError is a fault of the target's connection. */
export function refusalOfError(error: unknown): HttpRefusal {
  if (error instanceof WstunError) return refusalOf(error.fault, error.detail);
  return refusalOf('proxy-bad-answer', error instanceof Error ? error.message : '');
}

/** For a browser or page that takes the proxy for a web server. Without CORS header, so a page cannot read it. */
export const NOT_A_WEB_SERVER: HttpRefusal = (() => {
  const body = [
    'This is the proxy of wstun, not a web server.',
    '',
    'Enter this address and port as the SOCKS5 or HTTP proxy of your browser or system, or try:',
    '  curl -x socks5h://HOST:PORT https://example.com/',
    `(${describeFault('proxy-malformed')})`,
    '',
  ].join('\n');
  return { fault: 'proxy-malformed', status: 400, headers: headersOf(400, body), body };
})();

export interface AnswerContext {
  /** Whether the connection is kept. */
  readonly stays: boolean;
  /** It responds to HEAD, so it has no content. */
  readonly isHead?: boolean;
}

/** The whole response. */
export function serialiseAnswer({ status, headers, body }: HttpAnswer, { stays, isHead }: AnswerContext): Buffer {
  const fields = [...headers, 'Connection', stays ? 'keep-alive' : 'close'];
  const head = serialiseHead(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, fields);
  return isHead ? head : Buffer.concat([head, Buffer.from(body)]);
}

function headersOf(status: number, body: string): string[] {
  const challenge = status === 407 ? ['Proxy-Authenticate', 'Basic realm="wstun", charset="UTF-8"'] : [];
  return [
    ...['Content-Type', 'text/plain; charset=utf-8'],
    // The body may contain parts of the request, and browsers show it as a page of the target.
    ...['X-Content-Type-Options', 'nosniff'],
    ...['Content-Length', String(Buffer.byteLength(body))],
    ...challenge,
  ];
}
