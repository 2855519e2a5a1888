/** What programs are told when a connection fails: the code that says why, and for people the reason. */
import { text } from 'node:stream/consumers';
import { beforeAll, describe, expect, it } from 'vitest';
import { blackHole } from '../support/net/black-hole.ts';
import { startDnsServer } from '../support/net/dns-server.ts';
import { closedPort, tcpServer } from '../support/net/tcp.ts';
import { invite, type RunningClient, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { askHttp, askSocks5, type Protocol, socks5Request } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';

/** Beyond the 10 s after which a dial is given up, what two processes on a busy machine need. */
const DIAL_LIMIT_MS = 13_000;

let relayPort = 0;
let refusingPort = 0;
let openPort = 0;
let silentPort = 0;
/** Everything is open to it. */
let trusted: RunningClient;
/** Only public addresses are open to it. */
let restricted: RunningClient;

beforeAll(async () => {
  const dns = await startDnsServer({
    'broken.wstun-e2e.net': { fault: 'SERVFAIL' },
    'inside.wstun-e2e.net': { addresses: ['127.0.0.1'] },
  });
  atEnd(() => dns.close());
  const relay = await startRelay({ dns });
  relayPort = relay.port;
  trusted = await startClient(await invite(relay, 'trusted', { allow: ['*'] }));
  restricted = await startClient(await invite(relay, 'restricted'));
  refusingPort = await closedPort();
  openPort = await tcpServer((socket) => socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\n\r\n')));
  silentPort = await blackHole();
});

/** Host and port as late values: the ports are known only when the servers run. */
type Case = readonly [string, () => RunningClient, () => readonly [string, number], number, number, string];

const CASES: readonly Case[] = [
  ['success', () => trusted, () => ['127.0.0.1', openPort], 0, 200, ''],
  ['a closed port', () => trusted, () => ['127.0.0.1', refusingPort], 5, 502, 'WSTUN-E301'],
  ['a name that does not exist', () => trusted, () => ['missing.wstun-e2e.net', 80], 4, 502, 'WSTUN-E306'],
  ['a name server in trouble', () => trusted, () => ['broken.wstun-e2e.net', 80], 1, 502, 'WSTUN-E307'],
  ['a private address without a rule', () => restricted, () => ['127.0.0.1', openPort], 2, 403, 'WSTUN-E304'],
  [
    'a name of a private address without a rule',
    () => restricted,
    () => ['inside.wstun-e2e.net', openPort],
    2,
    403,
    'WSTUN-E304',
  ],
  ['a special-use name without a rule', () => restricted, () => ['localhost', openPort], 2, 403, 'WSTUN-E304'],
  ['the relay itself, even where all is open', () => trusted, () => ['127.0.0.1', relayPort], 2, 403, 'WSTUN-E304'],
  ['the relay itself under a name', () => trusted, () => ['inside.wstun-e2e.net', relayPort], 2, 403, 'WSTUN-E304'],
  ['a target that does not answer', () => trusted, () => ['127.0.0.1', silentPort], 6, 504, 'WSTUN-E305'],
];

/** SOCKS5's reply code or HTTP's status, and what the answer says. */
async function ask(
  protocol: Protocol | 'GET',
  port: number,
  host: string,
  to: number,
): Promise<readonly [number, string]> {
  if (protocol === 'SOCKS5') {
    const { code, socket } = await askSocks5(port, socks5Request(host, to));
    socket.destroy();
    return [code, ''];
  }
  const line = protocol === 'GET' ? `GET http://${host}:${to}/ HTTP/1.1` : `CONNECT ${host}:${to} HTTP/1.1`;
  const { status, socket } = await askHttp(port, `${line}\r\nHost: ${host}:${to}\r\nConnection: close`);
  const body = status === 200 ? '' : await text(socket);
  socket.destroy();
  return [status, body];
}

describe('the reply to a program', () => {
  it.for(CASES)(
    'SOCKS5, CONNECT and GET tell a program the truth about %s',
    { timeout: DIAL_LIMIT_MS },
    async ([, client, target, code, status, fault]) => {
      const { port } = client();
      const [host, to] = target();
      const said = fault === '' ? '' : expect.stringContaining(`(${fault})`);
      const asked = (['SOCKS5', 'CONNECT', 'GET'] as const).map((protocol) => ask(protocol, port, host, to));
      expect(await Promise.all(asked)).toEqual([
        [code, ''],
        [status, said],
        [status, said],
      ]);
    },
  );
});

describe('SOCKS5', () => {
  it('SOCKS5 answers a command that does not exist with 07, a port that may not be opened with 02, and an unknown address type with 08', async () => {
    const codeOf = async (command: number) =>
      (await askSocks5(trusted.port, socks5Request('127.0.0.1', openPort, { command }))).code;
    for (const command of [0, 4, 0x7f]) expect(await codeOf(command)).toBe(7);
    // BIND: no rule lets this client listen.
    expect(await codeOf(2)).toBe(2);
    expect((await askSocks5(trusted.port, Uint8Array.of(5, 1, 0, 9, 1, 2, 3, 4, 0, 80))).code).toBe(8);
  });
});

describe('HTTP', () => {
  it('the HTTP proxy forwards the answer of a target, whatever its status', async () => {
    const answer = 'HTTP/1.1 503 Its Own\r\nContent-Length: 5\r\nX-Own: yes\r\n\r\nwords';
    const target = await tcpServer((socket) => socket.once('data', () => socket.end(answer)));
    const line = `GET http://127.0.0.1:${target}/ HTTP/1.1\r\nHost: 127.0.0.1:${target}\r\nConnection: close`;
    const { head, socket } = await askHttp(trusted.port, line);
    expect(head).toMatch(/^HTTP\/1.1 503 Its Own\r\n/);
    expect(head).toContain('X-Own: yes');
    expect(await text(socket)).toBe('words');
  });
});
