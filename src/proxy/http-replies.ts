/** What HTTP programs are told when their request cannot be served: a status, and a page of plain text that says why. Pure. */
import { STATUS_CODES } from 'node:http';
import { describeFault, type FaultName } from '../errors.ts';

/** RFC 9110 §15; whatever is not here is 502 (Bad Gateway). */
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

export interface HttpRefusal {
  readonly fault: FaultName;
  readonly status: number;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: string;
}

export function refusalOf(fault: FaultName, detail = '', status = STATUS[fault] ?? BAD_GATEWAY): HttpRefusal {
  const body = `${describeFault(fault, detail)}\n`;
  return { fault, status, headers: headersOf(status, body), body };
}

/** To a browser or a page that takes the proxy for a web server. It gets no CORS header, so a page cannot even read this. */
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

/** For connections that are no longer node:http's: the whole answer, after which the connection ends. */
export function serialiseRefusal({ status, headers, body }: HttpRefusal): Buffer {
  const head = serialiseHead(status, STATUS_CODES[status] ?? '', [...headers, 'Connection', 'close']);
  return Buffer.concat([head, Buffer.from(body)]);
}

/** `headers`: names and values in turn, as node:http gives them, one char a byte. */
export function serialiseHead(status: number, reason: string, headers: readonly string[]): Buffer {
  const lines = [`HTTP/1.1 ${status} ${reason}`];
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

function headersOf(status: number, body: string): string[] {
  const challenge = status === 407 ? ['Proxy-Authenticate', 'Basic realm="wstun", charset="UTF-8"'] : [];
  return [
    ...['Content-Type', 'text/plain; charset=utf-8'],
    // The body may hold what the request held, and browsers show it as a page of the target.
    ...['X-Content-Type-Options', 'nosniff'],
    ...['Content-Length', String(Buffer.byteLength(body))],
    ...challenge,
  ];
}
