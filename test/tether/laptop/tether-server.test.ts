/** Anyone on the local network against the laptop's port: what is rejected, how, and what it costs. */
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { CODE_LIFETIME_MS } from '../../../src/tether/laptop/pairing-secrets.ts';
import { MAX_CONNECTIONS, PAIRING_LIMIT_MS } from '../../../src/tether/laptop/tether-limits.ts';
import { beginPairing, createSecret } from '../../../src/tether/shared/pairing.ts';
import {
  FakePage,
  nextMessage,
  openSocket,
  PAGE,
  pair,
  type RunningTether,
  startTether,
  statusOf,
} from '../../support/links/fake-page.ts';
import { atEnd } from '../../support/scope.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';
import { until } from '../../support/until.ts';

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

async function ask(
  { host }: RunningTether,
  path: string,
  options: { method?: string; Host?: string } = {},
): Promise<Answer> {
  const [name, port] = host.split(':');
  const { method = 'GET', Host = host } = options;
  const asked = request({ host: name, port, path, method, headers: { Host } }).end();
  const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode ?? 0, body, headers: response.headers };
}

const guess = async (tether: RunningTether, secret = createSecret()) =>
  await pair(openSocket(tether.host, '/control'), tether.host, secret);

const refusals = ({ events }: RunningTether) => events.filter(({ type }) => type === 'refused').length;

describe('the page that a tether serves', () => {
  it('the page is served at the address of the code, with a policy that allows only what it needs', async () => {
    const tether = await startTether();
    const { status, body, headers } = await ask(tether, '/');
    expect({ status, body }).toEqual({ status: 200, body: PAGE.toString() });
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toMatch(/script-src 'sha256-[\w+/=]{44}';/);
    expect(policy).toContain(
      `connect-src 'self' ws://${tether.host} wss://relay.example.org https://relay.example.org;`,
    );
    expect(policy).not.toMatch(/unsafe|\*/);
    expect(headers['referrer-policy']).toBe('no-referrer');
    expect(headers['x-frame-options']).toBe('DENY');
    expect(headers['cache-control']).toBe('no-store');
  });

  it.each(['evil.example', 'evil.example:8808', 'localhost', '127.0.0.1', '127.0.0.1:1', '[::1]:8808'])(
    'the page is not served under another host, which may be a stranger’s name for this address: %s',
    async (Host) => {
      const tether = await startTether();
      expect(await ask(tether, '/', { Host })).toMatchObject({ status: 403, body: '' });
    },
  );

  it('a tether serves nothing but the page', async () => {
    const tether = await startTether();
    const paths = ['/favicon.ico', '/?x', '//', '/control', `/link/${'0'.repeat(32)}`, '/../etc/passwd'];
    for (const path of paths) expect(await ask(tether, path)).toMatchObject({ status: 404, body: '' });
    for (const method of ['POST', 'PUT', 'OPTIONS']) expect((await ask(tether, '/', { method })).status).toBe(405);
  });

  it('the page and its headers contain no secret', async () => {
    const tether = await startTether();
    const secret = Buffer.from(tether.secret());
    const { body, headers } = await ask(tether, '/');
    const said = body + JSON.stringify(headers);
    for (const form of ['base64url', 'base64', 'hex', 'latin1'] as const)
      expect(said).not.toContain(secret.toString(form));
  });
});

describe('an upgrade at a tether', () => {
  it.each<[string, Record<string, string>]>([
    ['of another origin', { Origin: 'http://evil.example' }],
    ['of an origin that only begins like ours', { Origin: 'http://127.0.0.1' }],
    ['of our origin over https', { Origin: 'https://HOST' }],
    ['of no origin that can be told', { Origin: 'null' }],
    ['to another host, of its own origin', { Host: 'evil.example', Origin: 'http://evil.example' }],
    ['to another host, of our origin', { Host: 'evil.example:8808' }],
  ])('an upgrade %s is rejected before the WebSocket opens', async (_what, headers) => {
    const tether = await startTether();
    const filled = Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, v.replace('HOST', tether.host)]));
    for (const path of ['/control', `/link/${'0'.repeat(32)}`])
      expect(await statusOf(openSocket(tether.host, path, filled))).toBe(403);
    expect(tether.server.pages).toBe(0);
  });

  it('a rejected upgrade frees its connection after a second, although the stranger keeps its half open', async () => {
    const clock = new VirtualClock();
    const tether = await startTether(clock);
    const [name = '', port] = tether.host.split(':');
    const strangers = Array.from({ length: MAX_CONNECTIONS }, () => {
      const socket = connect({ host: name, port: Number(port), allowHalfOpen: true });
      socket.on('error', () => {}).resume();
      socket.write('GET /x HTTP/1.1\r\nHost: evil\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
      atEnd(() => socket.destroy());
      return socket;
    });
    await Promise.all(strangers.map((socket) => once(socket, 'end')));
    // A connection beyond the bound is closed without an answer.
    await expect(ask(tether, '/')).rejects.toThrow();
    await clock.advance(1_000);
    await vi.waitFor(async () => expect((await ask(tether, '/')).status).toBe(200), 30_000);
  });

  it('a connection without a request is closed after ten seconds, not thirty', { tags: ['waits'] }, async () => {
    const tether = await startTether();
    const [name = '', port] = tether.host.split(':');
    const silent = connect({ host: name, port: Number(port) });
    atEnd(() => silent.destroy());
    const closed = once(silent.resume(), 'close');
    await once(silent, 'connect');
    const since = performance.now();
    await closed;
    expect(performance.now() - since).toBeLessThan(13_000);
  });

  it('an upgrade without an origin is rejected', async () => {
    const tether = await startTether();
    const [name, port] = tether.host.split(':');
    const key = 'dGhlIHNhbXBsZSBub25jZQ==';
    const headers = { Host: tether.host, Connection: 'Upgrade', Upgrade: 'websocket' };
    const asked = request({
      ...{ host: name, port, path: '/control' },
      headers: { ...headers, 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key },
    }).end();
    const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage];
    expect(response.statusCode).toBe(403);
  });

  it('an upgrade at another path, or for a link that was not requested, gets 404', async () => {
    const tether = await startTether();
    await FakePage.join(tether);
    for (const path of ['/', '/controls', '/link/', `/link/${'0'.repeat(32)}`, `/link/${'0'.repeat(33)}`])
      expect(await statusOf(openSocket(tether.host, path))).toBe(404);
  });
});

describe('a pairing with the laptop', () => {
  it('a code pairs once; its page pairs again with the secret that it got', async () => {
    const tether = await startTether();
    const code = tether.secret();
    const page = await FakePage.join(tether, code);
    expect(await guess(tether, code)).toBe('refused');
    page.socket.terminate();
    await until(() => tether.server.pages === 0);
    await FakePage.join(tether, page.rejoin);
    expect(tether.events.filter(({ type }) => type === 'paired')).toMatchObject([{ again: false }, { again: true }]);
  });

  it('an expired code, a guessed secret and the secret of another client are rejected, reported and counted', async () => {
    let aheadMs = 0;
    const tether = await startTether({ ...systemClock, now: () => systemClock.now() + aheadMs });
    const other = await startTether();
    const stranger = await FakePage.join(other);
    expect(await guess(tether)).toBe('refused');
    expect(await guess(tether, stranger.rejoin)).toBe('refused');
    aheadMs = CODE_LIFETIME_MS;
    expect(await guess(tether, tether.secret())).toBe('refused');
    expect(tether.server.failedAttempts).toBe(3);
    expect(refusals(tether)).toBe(3);
    expect(tether.server.pages).toBe(0);
  });

  it('an address with several failed attempts gets 429 until its wait is over', async () => {
    const clock = new VirtualClock();
    const tether = await startTether(clock);
    for (let i = 0; i < 4; i++) expect(await guess(tether)).toBe('refused');
    for (let i = 0; i < 20; i++) expect(await statusOf(openSocket(tether.host, '/control'))).toBe(429);
    expect(tether.server.failedAttempts).toBe(4);
    // A page with the right secret is accepted after the wait, and clears the address.
    await clock.advance(999);
    expect(await statusOf(openSocket(tether.host, '/control'))).toBe(429);
    await clock.advance(1);
    expect(typeof (await guess(tether, tether.secret()))).toBe('object');
  });

  it('a failed pairing looks the same for an unknown and a used secret', async () => {
    const tether = await startTether();
    const used = tether.secret();
    await FakePage.join(tether, used);
    const seen: string[] = [];
    for (const secret of [createSecret(), used]) {
      const socket = openSocket(tether.host, '/control');
      const lengths: number[] = [];
      socket.on('message', (data: Buffer) => lengths.push(data.length));
      await pair(socket, tether.host, secret);
      seen.push(lengths.join());
    }
    expect(seen).toEqual(['33,1', '33,1']);
  });

  it.each<[string, Uint8Array | string]>([
    ['nothing', new Uint8Array(0)],
    ['text', 'hello'],
    ['a hello of another version', Uint8Array.from([1, 0, 2, ...new Uint8Array(40)])],
    ['far too much', new Uint8Array(10_000)],
    ['a sealed message', Uint8Array.from([5, ...new Uint8Array(30)])],
  ])('a pairing that begins with %s is refused or ended, and adds no page', async (_what, first) => {
    const tether = await startTether();
    const socket = openSocket(tether.host, '/control');
    await once(socket, 'open');
    socket.send(first);
    const answer = await nextMessage(socket);
    expect([undefined, Uint8Array.of(0)]).toContainEqual(answer);
    expect(tether.server.pages).toBe(0);
  });

  it('an address may have three pairings under way; the next one is accepted when one ends', async () => {
    const tether = await startTether();
    const sockets = Array.from({ length: 5 }, () => openSocket(tether.host, '/control'));
    const statuses = await Promise.all(sockets.map(statusOf));
    expect(statuses.filter((status) => status === 101)).toHaveLength(3);
    expect(statuses.filter((status) => status === 503)).toHaveLength(2);
    for (const socket of sockets) socket.terminate();
    await vi.waitFor(async () => expect(await statusOf(openSocket(tether.host, '/control'))).toBe(101), 30_000);
    // Closed in time without a message: no failed attempt.
    expect(tether.server.failedAttempts).toBe(0);
  });

  it('a pairing without a message until its time limit counts as a failed attempt', async () => {
    const clock = new VirtualClock();
    const tether = await startTether(clock);
    const socket = openSocket(tether.host, '/control');
    await once(socket, 'open');
    const closed = once(socket, 'close');
    await clock.advance(PAIRING_LIMIT_MS - 1);
    expect([socket.readyState, tether.server.failedAttempts]).toEqual([socket.OPEN, 0]);
    await clock.advance(1);
    await closed;
    await until(() => tether.server.failedAttempts === 1);
  });

  it('a pairing that ends after the answer counts as failed without a valid secret, and not with one', async () => {
    const tether = await startTether();
    const breakOff = async (secret: Uint8Array): Promise<void> => {
      const socket = openSocket(tether.host, '/control');
      await once(socket, 'open');
      socket.send(beginPairing(secret, tether.host).hello);
      await nextMessage(socket);
      socket.close();
      await once(socket, 'close');
    };
    for (let i = 0; i < 5; i++) await breakOff(tether.secret());
    expect(tether.server.failedAttempts).toBe(0);
    await breakOff(createSecret());
    await until(() => tether.server.failedAttempts === 1);
    await FakePage.join(tether);
  });
});

describe('a paired page', () => {
  it.each<[string, (page: FakePage) => void]>([
    ['says what nobody sealed', (page) => page.sendRaw(Uint8Array.from([5, ...new Uint8Array(40)]))],
    ['says what is no message', (page) => page.send({ type: 'ping' } as never)],
    ['joins twice', (page) => page.send({ type: 'joined', time: 1 })],
    ['sends text', (page) => page.socket.send('hello')],
  ])('a paired page that %s is disconnected', async (_what, misbehave) => {
    const tether = await startTether();
    misbehave(await FakePage.join(tether));
    await until(() => tether.server.pages === 0);
  });

  it('a paired page in another tab replaces the old one, which is told', async () => {
    const tether = await startTether();
    const first = await FakePage.join(tether);
    const ended = once(first.socket, 'close');
    const socket = openSocket(tether.host, '/control');
    expect(typeof (await pair(socket, tether.host, first.rejoin))).toBe('object');
    await ended;
    expect(first.messages.at(-1)).toEqual({ type: 'replaced' });
  });
});

/** To another loopback address, with the same port. */
async function moveTo(tether: RunningTether, name: string): Promise<RunningTether> {
  const port = tether.server.address?.port ?? 0;
  await tether.server.serve({ host: name, port, publicHost: name });
  return { ...tether, host: `${name}:${port}` };
}

const codes = ({ events }: RunningTether) => events.filter(({ type }) => type === 'code').length;
const refused = ({ host }: RunningTether) =>
  vi.waitFor(() => expect(ask({ host } as RunningTether, '/')).rejects.toThrow(), 30_000);

describe('a tether that moves to another address', () => {
  it('a move is reported once, with a code for the new address; only the new address serves the page', async () => {
    const tether = await startTether();
    const moved = await moveTo(tether, '127.0.0.2');
    const [, address, code] = tether.events;
    expect(address).toEqual({ type: 'address', host: '127.0.0.2', port: moved.server.address?.port, again: false });
    expect(code).toMatchObject({ type: 'code', url: expect.stringContaining(`http://${moved.host}/#`) });
    expect((await ask(moved, '/')).status).toBe(200);
    expect((await ask(moved, '/', { Host: tether.host })).status).toBe(403);
    await refused(tether);
    await FakePage.join(moved);
    await moveTo(tether, '127.0.0.2');
    expect(codes(tether)).toBe(2);
  });

  it('a moved tether keeps its pages until they end, although the old address is gone', async () => {
    const tether = await startTether();
    const page = await FakePage.join(tether);
    const moved = await moveTo(tether, '127.0.0.2');
    tether.server.setAddresses(new Set(['127.0.0.2']));
    const dialled = tether.server.dial(() => 'wss://relay.example.org/a', AbortSignal.timeout(5_000));
    await page.openLocal((await page.nextOpen()).link);
    expect((await dialled).remote).toContain('127.0.0.1');
    page.socket.terminate();
    await refused(tether);
    expect((await ask(moved, '/')).status).toBe(200);
  });

  it('a page may return to the old address while that exists, and only under that host', async () => {
    const tether = await startTether();
    const page = await FakePage.join(tether);
    const moved = await moveTo(tether, '127.0.0.2');
    const both = new Set(['127.0.0.1', '127.0.0.2']);
    tether.server.setAddresses(both);
    page.socket.terminate();
    await until(() => tether.server.pages === 0);
    tether.server.setAddresses(both);
    expect((await ask(tether, '/', { Host: moved.host })).status).toBe(403);
    await FakePage.join(tether, page.rejoin);
    await FakePage.join(moved);
    expect(tether.server.pages).toBe(2);
  });

  it('a tether that cannot listen at the new address stays at the old one', async () => {
    const tether = await startTether();
    await expect(moveTo(tether, '203.0.113.77')).rejects.toMatchObject({ fault: 'cannot-listen' });
    expect([tether.server.address?.host, codes(tether)]).toEqual(['127.0.0.1', 1]);
    await FakePage.join(tether);
  });

  it('a tether without an address shows no code; the last code is valid when the address is back', async () => {
    const tether = await startTether();
    const port = tether.server.address?.port ?? 0;
    await tether.server.serve({ host: '127.0.0.1', port: 0, publicHost: undefined });
    expect(tether.server.address).toBeUndefined();
    tether.server.showCode();
    await tether.server.serve({ host: '127.0.0.1', port: 0, publicHost: '127.0.0.1' });
    expect(tether.events.slice(1)).toEqual([{ type: 'address', host: '127.0.0.1', port, again: true }]);
    await FakePage.join(tether);
  });

  it('a tether shows a new code after its address is back if the last code expired meanwhile', async () => {
    const clock = new VirtualClock();
    const tether = await startTether(clock);
    await tether.server.serve({ host: '127.0.0.1', port: 0, publicHost: undefined });
    await clock.advance(2 * CODE_LIFETIME_MS);
    expect(codes(tether)).toBe(1);
    await tether.server.serve({ host: '127.0.0.1', port: 0, publicHost: '127.0.0.1' });
    await clock.advance(14_000);
    expect(codes(tether)).toBe(1);
    await clock.advance(1_000);
    expect(codes(tether)).toBe(2);
  });

  it('a tether on all addresses keeps its listener, and accepts only the current name as host', async () => {
    const tether = await startTether();
    const { server } = tether;
    const place = { host: '0.0.0.0', port: 0 };
    await server.serve({ ...place, publicHost: 'one.example' });
    const host = `127.0.0.1:${server.address?.port}`;
    const statusAs = async (name: string) =>
      (await ask({ ...tether, host }, '/', { Host: host.replace('127.0.0.1', name) })).status;
    expect([await statusAs('one.example'), await statusAs('two.example')]).toEqual([200, 403]);
    await server.serve({ ...place, publicHost: 'two.example' });
    expect([await statusAs('one.example'), await statusAs('two.example')]).toEqual([403, 200]);
    expect(server.address).toEqual({ host: 'two.example', port: Number(host.split(':')[1]) });
    expect(tether.events.at(-1)).toMatchObject({ url: expect.stringContaining('http://two.example:') });
  });

  it('a closed tether listens nowhere, also if it was about to move', async () => {
    const tether = await startTether();
    const moving = moveTo(tether, '127.0.0.2');
    tether.server.close();
    await refused(await moving);
  });
});
