/** Whether the proxy of a wstun client listens at an address, and whether it requires a password. */
import { connect } from 'node:net';
import { type Clock, systemClock } from '../clock.ts';
import type { HostPort } from '../net/host-port.ts';

export type ProxyFinding =
  /** Nothing accepts connections there. */
  | 'absent'
  /** What does is no client of wstun. */
  | 'foreign'
  | 'open'
  /** It requires a user name and a password, and was given none, or wrong ones. */
  | 'closed'
  /** It requires them, and those that were given are right. */
  | 'unlocked';

/** A proxy on this machine answers within milliseconds; a stopped one never. */
const ANSWER_LIMIT_MS = 3_000;
/** The page is shorter than this; more of it is not needed. */
const MAX_ANSWER_BYTES = 16 * 1024;

/** Never rejects. Asks for the page that only the proxy itself has, so nothing goes through the tunnel. */
export async function findProxy(
  address: HostPort,
  credentials: { readonly user: string; readonly pass: string } | undefined,
  clock: Clock = systemClock,
): Promise<ProxyFinding> {
  const first = readAnswer(await ask(address, '', clock));
  if (first !== 'closed' || credentials === undefined) return first;
  const basic = Buffer.from(`${credentials.user}:${credentials.pass}`).toString('base64');
  const second = readAnswer(await ask(address, `Proxy-Authorization: Basic ${basic}\r\n`, clock));
  return second === 'open' ? 'unlocked' : second;
}

/** An older client has no such page: its exit does not know the name, which is told with a code of ours. */
function readAnswer(text: string | undefined): ProxyFinding {
  if (text === undefined) return 'absent';
  const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(text) ?? [];
  if (status === '407') return /^proxy-authenticate: basic realm="wstun"/im.test(text) ? 'closed' : 'foreign';
  return (status === '200' && text.includes('<title>wstun: ')) || text.includes('(WSTUN-E') ? 'open' : 'foreign';
}

/** What is answered; undefined: nobody listens. */
function ask({ host, port }: HostPort, fields: string, clock: Clock): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    let isConnected = false;
    const socket = connect({ host, port });
    const end = () => {
      clock.clearTimeout(limit);
      socket.destroy();
      resolve(isConnected ? text : undefined);
    };
    const limit = clock.setTimeout(end, ANSWER_LIMIT_MS);
    socket.setEncoding('latin1');
    socket.on('error', end).on('close', end);
    socket.on('connect', () => {
      isConnected = true;
      socket.write(`GET http://wstun.internal/ HTTP/1.1\r\nHost: wstun.internal\r\n${fields}Connection: close\r\n\r\n`);
    });
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length >= MAX_ANSWER_BYTES) end();
    });
  });
}
