/**
 * Tunnels through proxies that answer in every way, on real sockets.
 * @module-tag waits
 */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import { askForTunnel } from '../../../src/transport/proxy/connect-exchange.ts';
import { ProxyCredentials } from '../../../src/transport/proxy/proxy-credentials.ts';
import { parseProxy } from '../../../src/transport/proxy/proxy-url.ts';
import { ProxyVia } from '../../../src/transport/proxy/proxy-via.ts';
import { closedPort, tcpServer } from '../../support/net/tcp.ts';
import { advanceUntil } from '../../support/time/advance-until.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';
import { until } from '../../support/until.ts';

const TARGET = { host: 'relay.test', port: 443 };
const BASIC = 'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="r"\r\nContent-Length: 2\r\n\r\nno';
const OK = 'HTTP/1.1 200 OK\r\n\r\n';

interface Proxy {
  readonly port: number;
  /** Heads of requests so far, and on which of its connections. */
  readonly heads: { readonly on: number; readonly text: string }[];
}

/** Answers the first request as the first text says, and so on; `close`: closes the connection after an answer. */
async function proxyAnswering(answers: readonly (string | Buffer)[], close = false): Promise<Proxy> {
  const heads: Proxy['heads'][number][] = [];
  let connections = 0;
  const port = await tcpServer((socket: Socket) => {
    const on = connections++;
    let read = '';
    socket.on('data', (chunk) => {
      if (socket.writableEnded) return;
      read += chunk.toString('latin1');
      if (!read.endsWith('\r\n\r\n')) return;
      const answer = answers[heads.length];
      heads.push({ on, text: read });
      read = '';
      if (answer !== undefined) socket.write(answer);
      if (close) socket.end();
    });
  });
  return { port, heads };
}

interface Asking {
  readonly url?: string;
  readonly password?: string;
  readonly command?: string;
  readonly clock?: VirtualClock;
}

function viaOf(port: number, { url = 'http://127.0.0.1', password, command }: Asking = {}): ProxyVia {
  const credentials = async () => (password === undefined ? undefined : new ProxyCredentials('ann', password));
  return new ProxyVia(parseProxy(`${url}:${port}`, 'test'), { credentials, command });
}

function connect(via: ProxyVia, clock = new VirtualClock(), signal = new AbortController().signal): Promise<Socket> {
  return via.connect(TARGET, { signal, clock, reach: {} });
}

/** The fault's name and its detail without the proxy's port. */
async function failure(via: ProxyVia, clock?: VirtualClock): Promise<string> {
  const error: unknown = await connect(via, clock).catch((cause: unknown) => cause);
  if (!(error instanceof WstunError)) throw new Error('no fault');
  return `${error.fault}: ${error.detail.replace(/127\.0\.0\.1:\d+/, 'proxy')}`;
}

describe('a tunnel by CONNECT', () => {
  it('names the target to the proxy, and keeps what the target sends with the answer', async () => {
    const { port, heads } = await proxyAnswering([`HTTP/1.0 200 fine\r\nVia: x\r\n\r\nhello`]);
    const socket = await connect(viaOf(port));
    expect(heads[0]?.text).toBe(
      'CONNECT relay.test:443 HTTP/1.1\r\nHost: relay.test:443\r\nProxy-Connection: Keep-Alive\r\n\r\n',
    );
    const [first] = (await once(socket, 'data')) as [Buffer];
    expect(first.toString()).toBe('hello');
    socket.destroy();
  });

  it.each<[string, string, RegExp]>([
    ['403', 'HTTP/1.1 403 No\r\n\r\n', /^proxy-forbids: http:\/\/proxy, asked for relay.test:443: HTTP 403$/],
    ['502', 'HTTP/1.1 502 No\r\n\r\n', /^proxy-cannot-connect: .*HTTP 502$/],
    ['400', 'HTTP/1.1 400 No\r\n\r\n', /^proxy-odd-answer: .*HTTP 400$/],
    [
      '407 without a scheme',
      'HTTP/1.1 407 No\r\n\r\n',
      /^proxy-credentials-needed: http:\/\/proxy: it names no scheme$/,
    ],
    ['407', BASIC, /^proxy-credentials-needed: http:\/\/proxy: it offers Basic$/],
    ['a greeting of SSH', 'SSH-2.0-x\r\n', /^proxy-odd-answer: http:\/\/proxy: the answer is not HTTP$/],
    ['a head over 64 KiB', `HTTP/1.1 200 ${'x'.repeat(70_000)}`, /^proxy-odd-answer: .*over 64 KiB$/],
  ])('tells what it means: %s', async (_name, answer, expected) => {
    const { port } = await proxyAnswering([answer], true);
    expect(await failure(viaOf(port))).toMatch(expected);
  });

  it('says that nobody listens, that the connection is closed, and that no answer comes', async () => {
    expect(await failure(viaOf(await closedPort()))).toBe('proxy-unreachable: http://proxy: connection refused');
    const closing = await tcpServer((socket) => socket.end());
    expect(await failure(viaOf(closing))).toMatch(/^proxy-odd-answer: .*without an answer$/);
    const { port, heads } = await proxyAnswering([]);
    const clock = new VirtualClock();
    let told = '';
    void failure(viaOf(port), clock).then((text) => {
      told = text;
    });
    await advanceUntil(clock, () => heads.length > 0, 4_000);
    await advanceUntil(clock, () => told !== '', 12_000);
    expect(told).toBe('proxy-slow: http://proxy: no answer to CONNECT within 10 s');
  });

  it('is cancelled at any time, and leaves no connection', async () => {
    let closed = false;
    let asked = false;
    const port = await tcpServer((socket) => {
      socket.on('data', () => {
        asked = true;
      });
      socket.on('end', () => {
        closed = true;
      });
    });
    const stop = new AbortController();
    const clock = new VirtualClock();
    const opening = connect(viaOf(port), clock, stop.signal).catch((error: unknown) => error);
    await advanceUntil(clock, () => asked, 4_000);
    stop.abort();
    expect(await opening).toMatchObject({ fault: 'dial-cancelled' });
    await advanceUntil(clock, () => closed, 1_000);
  });
});

describe('a proxy that asks for credentials', () => {
  it('does not get the password by Basic after it has accepted it by Digest', async () => {
    const digest = BASIC.replace('Basic realm="r"', 'Digest realm="r", nonce="n", qop="auth"');
    const { port, heads } = await proxyAnswering([digest, OK, BASIC, digest, OK]);
    const via = viaOf(port, { password: 'secret' });
    (await connect(via)).destroy();
    expect(await failure(via)).toBe(
      'proxy-odd-answer: http://proxy: it asks for the password by Basic, and did not before',
    );
    (await connect(via)).destroy();
    expect(heads.filter(({ text }) => text.includes('Authorization: Basic'))).toEqual([]);
    expect(heads).toHaveLength(5);
  });

  it.each([
    ['the same connection', false, false, [0, 0]],
    ['another connection where it closes the first', true, true, [0, 1]],
    ['another connection where it closes the first without a word of it', true, false, [0, 1]],
  ])('gets them on %s', async (_name, close, says, connections) => {
    const answer = says ? BASIC.replace('Content-Length', 'Connection: close\r\nContent-Length') : BASIC;
    const { port, heads } = await proxyAnswering([answer, OK], close);
    (await connect(viaOf(port, { password: 'secret' }))).destroy();
    expect(heads.map(({ on }) => on)).toEqual(connections);
    expect(heads[1]?.text).toContain('\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==\r\n');
  });

  it('gets no request on a connection that has ended before it', async () => {
    const { port } = await proxyAnswering([]);
    const socket = createConnection(port, '127.0.0.1').on('error', () => {});
    await once(socket, 'connect');
    socket.destroy();
    await once(socket, 'close');
    const options = { clock: new VirtualClock(), signal: new AbortController().signal, proxy: 'x' };
    expect(await askForTunnel(socket, { authority: 'relay.test:443' }, options)).toEqual({ fault: 'cut-short' });
  });

  it('must keep the connection that NTLM has begun on', async () => {
    const challenge = Buffer.alloc(48);
    challenge.write('NTLMSSP\0', 'latin1');
    challenge.writeUInt32LE(2, 8);
    const second = `HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM ${challenge.toString('base64')}\r\n`;
    const first = 'HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n';
    const keeps = await proxyAnswering([first, `${second}Content-Length: 0\r\n\r\n`, OK]);
    (await connect(viaOf(keeps.port, { password: 'secret' }))).destroy();
    expect(keeps.heads.map(({ on }) => on)).toEqual([0, 0, 0]);
    const closes = await proxyAnswering([first, `${second}Connection: close\r\nContent-Length: 0\r\n\r\n`]);
    expect(await failure(viaOf(closes.port, { password: 'secret' }))).toMatch(/in the middle of NTLM$/);
  });

  it('is not sent a wrong password again for a minute, by many tunnels at once neither, but another at once', async () => {
    const { port, heads } = await proxyAnswering([BASIC, BASIC, BASIC, BASIC, BASIC, OK]);
    let password = 'wrong';
    const credentials = async () => new ProxyCredentials('ann', password);
    const via = new ProxyVia(parseProxy(`127.0.0.1:${port}`, 'test'), { credentials });
    const clock = new VirtualClock();
    const failures = await Promise.all([1, 2, 3].map(() => failure(via, clock)));
    for (const told of failures) expect(told).toMatch(/^proxy-wrong-password: .*tried again in a minute$/);
    const sent = () => heads.filter(({ text }) => text.includes('Proxy-Authorization')).length;
    expect([sent(), via.hasWrongPassword]).toEqual([1, true]);
    await clock.advance(60_000);
    expect(await failure(via, clock)).toMatch(/again in 10 minutes$/);
    expect(sent()).toBe(2);
    password = 'right';
    (await connect(via, clock)).destroy();
    expect(via.hasWrongPassword).toBe(false);
  });

  it('gets what the command prints, which is told the scheme, the challenge and the proxy', async () => {
    const offer = 'HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate abc=\r\nContent-Length: 0\r\n\r\n';
    const { port, heads } = await proxyAnswering([offer, OK]);
    const command = 'echo "$WSTUN_PROXY_SCHEME [$WSTUN_PROXY_CHALLENGE] $WSTUN_PROXY_HOST $WSTUN_PROXY_PORT"';
    (await connect(viaOf(port, { command }))).destroy();
    expect(heads[1]?.text).toContain(`Proxy-Authorization: Negotiate [Negotiate abc=] 127.0.0.1 ${port}\r\n`);
  });

  it.each([
    ['exit 3', 'it ended with 3'],
    ['true', 'it printed nothing'],
    ['printf "a\\nb\\n"', 'it printed something else than one line of ASCII'],
    ['head -c 70000 /dev/zero', 'it printed more than 64 KiB'],
    ['kill -9 $$', 'it was ended by SIGKILL'],
  ])('is asked no more where the command %j fails', async (command, reason) => {
    const { port, heads } = await proxyAnswering([BASIC]);
    expect(await failure(viaOf(port, { command }))).toBe(`proxy-command-failed: ${reason}`);
    expect(heads).toHaveLength(1);
  });

  it('is not kept waiting by a command for more than 10 s, and what that has started ends', async () => {
    const { port, heads } = await proxyAnswering([BASIC]);
    const clock = new VirtualClock();
    let told = '';
    void failure(viaOf(port, { command: 'sleep 1000 | sleep 1000' }), clock).then((text) => {
      told = text;
    });
    await advanceUntil(clock, () => heads.length > 0, 4_000);
    await advanceUntil(clock, () => told !== '', 25_000);
    expect(told).toBe('proxy-command-failed: it took longer than 10 s');
  });
});

describe('a tunnel by SOCKS', () => {
  const socksServer = (answers: readonly (readonly number[])[]): Promise<number> =>
    tcpServer((socket) => {
      let at = 0;
      socket.on('data', () => {
        const answer = answers[at++];
        if (answer === undefined) socket.end();
        else socket.write(Buffer.from(answer));
      });
    });

  it.each<[string, readonly (readonly number[])[], RegExp]>([
    ['no scheme is accepted', [[5, 255]], /^proxy-credentials-needed: /],
    [
      'the password is wrong',
      [
        [5, 2],
        [1, 1],
      ],
      /^proxy-wrong-password: .*a minute$/,
    ],
    [
      'the rules forbid it',
      [
        [5, 0],
        [5, 2, 0, 1, 0, 0, 0, 0, 0, 0],
      ],
      /^proxy-forbids: .*NotAllowed$/,
    ],
    [
      'the host is unreachable',
      [
        [5, 0],
        [5, 4, 0, 1, 0, 0, 0, 0, 0, 0],
      ],
      /^proxy-cannot-connect: .*HostUnreachable$/,
    ],
    ['it is no SOCKS', [[72, 84]], /^proxy-odd-answer: .*the answer is not SOCKS$/],
    ['it closes', [], /^proxy-odd-answer: .*without an answer$/],
  ])('says that %s', async (_name, answers, expected) => {
    const port = await socksServer(answers);
    expect(await failure(viaOf(port, { url: 'socks5h://127.0.0.1', password: 'secret' }))).toMatch(expected);
  });

  it('keeps what the target sends with the answer', async () => {
    const port = await socksServer([
      [5, 0],
      [5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 104, 105],
    ]);
    const socket = await connect(viaOf(port, { url: 'socks5h://127.0.0.1' }));
    const [first] = (await once(socket, 'data')) as [Buffer];
    expect(first.toString()).toBe('hi');
    socket.destroy();
  });

  it('a target that cannot be reached shows that the password was right, so that others do not wait for each other', async () => {
    let connections = 0;
    const port = await tcpServer((socket) => {
      connections += 1;
      const isFirst = connections === 1;
      socket.on('data', (chunk) => {
        if (chunk[0] === 1) socket.write(Buffer.from([1, 0]));
        else if (chunk[1] !== 1 || chunk[2] !== 0) socket.write(Buffer.from([5, 2]));
        else if (isFirst) socket.write(Buffer.from([5, 4, 0, 1, 0, 0, 0, 0, 0, 0]));
      });
    });
    const via = viaOf(port, { url: 'socks5h://127.0.0.1', password: 'secret' });
    expect(await failure(via)).toMatch(/^proxy-cannot-connect/);
    const stop = new AbortController();
    const hanging = [1, 2].map(() => connect(via, new VirtualClock(), stop.signal).catch(() => undefined));
    await until(() => connections === 3);
    stop.abort();
    await Promise.all(hanging);
  });

  it('needs an IPv4 address for socks4://, and a name that can be resolved', async () => {
    const credentials = async () => undefined;
    const viaWith = (lookup: () => Promise<{ address: string; family: number }[]>) =>
      new ProxyVia(parseProxy('socks4://127.0.0.1:9', 'test'), { credentials }, lookup);
    expect(await failure(viaWith(async () => [{ address: '::1', family: 6 }]))).toMatch(/has no address for it$/);
    const unknown = async () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' }));
    expect(await failure(viaWith(unknown))).toBe('relay-unreachable: relay.test:443: no such name');
  });
});
