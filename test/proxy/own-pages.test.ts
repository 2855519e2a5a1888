/** What the proxy answers itself: its PAC file, and http://wstun.internal/. */
import { describe, expect, it } from 'vitest';
import { parseDirectRules } from '../../src/proxy/direct-rules.ts';
import type { OwnPages } from '../../src/proxy/own-answers.ts';
import { ownPage, type TunnelFacts } from '../../src/proxy/own-page-text.ts';
import { readAnswer } from '../support/http.ts';
import { Client } from '../support/net/tcp.ts';
import { proxyTo } from '../support/proxy/proxy.ts';
import { rawExchange } from '../support/proxy/raw-http.ts';
import { askSocks5, dial, socks5Request, take } from '../support/proxy/through-proxy.ts';

const FACTS: TunnelFacts = {
  state: 'connected',
  exit: 'relay',
  relay: 'relay.example.org:443',
  route: { carrier: 'websocket' },
  roundTripMs: { now: 31.26, min: 8.4 },
};

const OWN: OwnPages = { describe: () => FACTS, direct: parseDirectRules(['corp.example']), hostNames: ['laptop'] };

const ownProxy = (more: Parameters<typeof proxyTo>[1] = {}) => proxyTo(0, { own: OWN, ...more });

function request(path: string, host: string, ...more: readonly string[]): string {
  return [`GET ${path} HTTP/1.1`, `Host: ${host}`, 'Connection: close', ...more, '', ''].join('\r\n');
}

describe('the PAC file at the port of the proxy', () => {
  it.each(['127.0.0.1', '192.168.7.5:1080', 'localhost:1080', 'laptop:1080', 'LAPTOP', '[fd00::1]:1080'])(
    'a program that asks under %s gets it with that address in it',
    async (host) => {
      const { port, opener } = await ownProxy();
      const { bytes } = await rawExchange(port, request('/proxy.pac', host));
      expect(bytes).toMatch(/^HTTP\/1\.1 200 .*\r\nContent-Type: application\/x-ns-proxy-autoconfig\r\n/s);
      const at = /:\d+$/.test(host) ? host.toLowerCase() : `${host.toLowerCase()}:80`;
      expect(bytes).toContain(`"SOCKS5 ${at}; PROXY ${at}"`);
      expect(bytes).toContain('["corp.example",0]');
      expect(opener.targets).toEqual([]);
    },
  );

  it('an HTTP/1.0 request without Host gets the address to which it was sent', async () => {
    const { port } = await ownProxy();
    const { bytes } = await rawExchange(port, 'GET /proxy.pac HTTP/1.0\r\n\r\n');
    expect(bytes).toContain(`"SOCKS5 127.0.0.1:${port}; `);
  });

  it.each([
    ['under a name of its own', request('/proxy.pac', 'evil.example:1080'), 421],
    ['under the name of the page', request('/', 'wstun.internal'), 421],
    ['under two names', request('/proxy.pac', '127.0.0.1', 'Host: evil.example'), 421],
    ['as a script', request('/proxy.pac', '127.0.0.1', 'Sec-Fetch-Site: cross-site', 'Sec-Fetch-Dest: script'), 403],
    ['by a post', request('/proxy.pac', '127.0.0.1').replace('GET', 'POST'), 405],
  ])('a website that asks for it %s learns nothing', async (_, text, status) => {
    const { port, opener } = await ownProxy();
    const { bytes } = await rawExchange(port, text);
    expect(bytes).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(bytes).not.toMatch(/corp\.example|SOCKS|wstun|access-control/i);
    expect(bytes).toMatch(/X-Content-Type-Options: nosniff/);
    expect(opener.targets).toEqual([]);
  });

  it('no page of another origin may run, show or read it', async () => {
    const { port } = await ownProxy();
    const { bytes } = await rawExchange(port, request('/proxy.pac', '127.0.0.1'));
    expect(bytes).toContain('X-Content-Type-Options: nosniff');
    expect(bytes).toContain('Cross-Origin-Resource-Policy: same-origin');
    expect(bytes).toContain('X-Frame-Options: DENY');
    expect(bytes).not.toMatch(/access-control/i);
  });

  it('it needs no password, since browsers have none for it, and then names only the HTTP proxy', async () => {
    const { port } = await ownProxy({ credentials: { user: 'me', pass: 'secret' } });
    const { bytes } = await rawExchange(port, request('/proxy.pac', `127.0.0.1:${port}`));
    expect(bytes).toContain(`"PROXY 127.0.0.1:${port}"`);
    expect((await rawExchange(port, request('/', `127.0.0.1:${port}`))).bytes).toMatch(/^HTTP\/1\.1 407 /);
  });

  it('HEAD has its length without its content, and the connection can be used for more', async () => {
    const { port } = await ownProxy();
    const client = new Client(port).send('HEAD /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    client.send(request('/proxy.pac', '127.0.0.1'));
    expect(await client.rest()).toMatch(
      /^HTTP\/1\.1 200 .*Content-Length: \d{3,}\r\n.*\r\n\r\nHTTP\/1\.1 200 .*Proxy/s,
    );
  });
});

describe('http://wstun.internal/', () => {
  it('SOCKS5, SOCKS4a, CONNECT and an HTTP request lead to the same page, and none to the tunnel', async () => {
    const { port, opener } = await ownProxy();
    const page = request('/', 'wstun.internal');
    const { code, socket } = await askSocks5(port, socks5Request('wstun.internal', 80));
    expect(code).toBe(0);
    socket.write(page);
    const socks4 = await dial(port);
    socks4.write(Buffer.concat([Buffer.from([4, 1, 0, 80, 0, 0, 0, 1, 0]), Buffer.from('WSTUN.internal.\0')]));
    expect((await take(socks4, 8))[1]).toBe(0x5a);
    socks4.write(page);
    const connect = await rawExchange(port, `CONNECT wstun.internal:80 HTTP/1.1\r\n\r\n${page}`);
    const plain = await rawExchange(port, request('http://wstun.internal/', 'wstun.internal'));
    for (const text of [await restOf(socket), await restOf(socks4), connect.bytes, plain.bytes])
      expect(text).toMatch(/HTTP\/1\.1 200 OK.*<h1>You are through\.<\/h1>.*relay\.example\.org:443.*31 ms.*8\.4 ms/s);
    expect(opener.targets).toEqual([]);
  });

  it('only that name and port are the page: others go through the tunnel, or are refused', async () => {
    const { port, opener } = await ownProxy();
    opener.fault = 'dial-name-unknown';
    for (const host of ['hello.wstun.internal', 'wstun.internal.example', 'xwstun.internal'])
      expect((await askSocks5(port, socks5Request(host, 80))).code).toBe(4);
    expect(opener.targets).toHaveLength(3);
    expect((await askSocks5(port, socks5Request('wstun.internal', 443))).code).toBe(5);
    expect(opener.targets).toHaveLength(3);
  });

  it('it has its PAC file too, with the address of the proxy, and nothing else', async () => {
    const { port } = await ownProxy();
    const pac = await rawExchange(port, request('http://wstun.internal/proxy.pac', 'wstun.internal'));
    expect(pac.bytes).toContain(`"SOCKS5 127.0.0.1:${port}; `);
    const other = await rawExchange(port, request('http://wstun.internal/x?y', 'wstun.internal'));
    expect(other.bytes).toMatch(/^HTTP\/1\.1 404 /);
  });

  it('it is closed to those without the password, as everything else', async () => {
    const { port } = await ownProxy({ credentials: { user: 'me', pass: 'secret' } });
    const { bytes } = await rawExchange(port, request('http://wstun.internal/', 'wstun.internal'));
    expect(bytes).toMatch(/^HTTP\/1\.1 407 /);
  });

  it('a request inside the stream under another name is not answered', async () => {
    const { port } = await ownProxy();
    const { socket } = await askSocks5(port, socks5Request('wstun.internal', 80));
    socket.write(request('/', 'evil.example'));
    expect(await restOf(socket)).toMatch(/^HTTP\/1\.1 421 /);
  });

  it.each([
    ['not HTTP', '\x16\x03\x01\x02\x00\x01\x00', 400],
    ['cut off', 'GET / HTTP/1.1\r\nHost: wst', 400],
    ['without Host', 'GET / HTTP/1.1\r\n\r\n', 400],
  ])('a request inside the stream that is %s is refused', async (_, text, status) => {
    const { port } = await ownProxy();
    const { socket } = await askSocks5(port, socks5Request('wstun.internal', 80));
    socket.end(text);
    expect(await restOf(socket)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });

  it('a stream without a request is answered and ends when the time is over', { tags: ['waits'] }, async () => {
    const { proxy, port } = await ownProxy({ limits: { negotiationMs: 300, lingerMs: 300 } });
    const { socket } = await askSocks5(port, socks5Request('wstun.internal', 80));
    expect(await restOf(socket)).toMatch(/^HTTP\/1\.1 408 /);
    socket.destroy();
    await proxy.close(1_000);
  });

  it('without own pages, as in a library, the name is one like others', async () => {
    const { port, opener } = await proxyTo(0);
    opener.fault = 'dial-name-unknown';
    const { head } = await readAnswer(new Client(port).send(request('http://wstun.internal/', 'wstun.internal')));
    expect(head).toMatch(/^HTTP\/1\.1 502 /);
    expect(opener.targets).toMatchObject([{ name: 'wstun.internal' }]);
  });
});

describe('ownPage', () => {
  it.each([
    ['connected', 'You are through.'],
    ['connecting', 'Not connected yet.'],
    ['link-lost', 'The link is lost.'],
    ['disconnected', 'Not connected.'],
    ['closing', 'wstun is closing.'],
  ] as const)('of a tunnel that is %s the page says: %s', (state, heading) => {
    expect(ownPage({ ...FACTS, state })).toContain(`<h1>${heading}</h1>`);
  });

  it('the page says who dials, and writes whatever it is told as text', () => {
    const page = ownPage({ ...FACTS, exit: 'named', relay: '<script>"&', route: { carrier: 'http', proxy: "a'b" } });
    expect(page).toContain('an exit of its own, behind the relay &#60;script&#62;&#34;&#38;');
    expect(page).toContain('HTTP requests, through the proxy a&#39;b');
    expect(page).not.toContain('<script>');
  });
});

async function restOf(socket: Awaited<ReturnType<typeof dial>>): Promise<string> {
  let text = '';
  socket.setEncoding('utf8');
  for await (const chunk of socket) text += chunk;
  return text;
}
