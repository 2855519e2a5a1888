/** A phone's page carries the links of a laptop: headless Chromium as the phone, real processes for the rest. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chromium } from 'playwright-core';
import { describe, expect, it, vi } from 'vitest';
import { openSocket, statusOf } from '../support/links/fake-page.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { startDnsServer } from '../support/net/dns-server.ts';
import { occurrences } from '../support/net/recording-proxy.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange, receive, sendPayload } from '../support/payload.ts';
import { run } from '../support/programs/programs.ts';
import { WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { invite, spawnClient, startBehindRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { BUILT_PAGE, rawLink, startLaptop } from '../support/tether/page-link.ts';
import { Phone, type PhonePage, shareBrowser } from '../support/tether/phone.ts';
import { nextCode, startTethered } from '../support/tether/tethered.ts';
import { until } from '../support/until.ts';

shareBrowser();

const MIB = 1024 * 1024;
const LIMIT_MS = 120_000;

describe('the page', () => {
  it('the page is one file under 70 KB that loads nothing from elsewhere', () => {
    const html = readFileSync(BUILT_PAGE, 'utf8');
    expect(Buffer.byteLength(html)).toBeLessThan(70_000);
    expect(html.replace(/data:[^"')]*/g, '')).not.toMatch(/https?:\/\/(?!\$\{)|@import|\bimport\(/);
    expect(html).not.toMatch(/ style="| on\w+="/);
  });

  it('the page says that it was opened without a code, or with a used one', { timeout: LIMIT_MS }, async () => {
    const { phone, client } = await startTethered();
    const code = String(client.events.find(({ event }) => event === 'tether-code')?.url);
    await (await phone.open(code.replace(/#.*/, ''))).until('bare');
    const second = await phone.open(code);
    await second.until('expired');
    expect(await second.text('detail')).toContain('Press Enter at the laptop');
    expect((await client.event('tether-refused')).guesses).toBe(1);
    expect(await second.evaluate('location.hash + Object.keys(sessionStorage)')).toBe('');
  });

  it('the page keeps its secret out of the address, and says that the laptop is gone', {
    timeout: LIMIT_MS,
  }, async () => {
    const { page, client } = await startTethered();
    expect(await page.evaluate('location.hash')).toBe('');
    await client.kill();
    await page.until('gone');
    expect(await page.text('headline')).toBe('Laptop not reachable');
  });

  it('page and client say that the relay cannot be reached, until it can', { timeout: LIMIT_MS }, async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'laptop');
    await relay.process.kill();
    const client = spawnClient(secret, { args: ['--tether', '127.0.0.1:0', '--no-direct'] });
    const page = await (await Phone.start()).open(await nextCode(client));
    await page.until('offline');
    await client.event('tether-offline');
    expect(await page.text('detail')).toContain('the relay may be down');
    await startRelay({ state: relay.state, port: relay.port });
    const since = performance.now();
    await client.event('ready');
    await page.until('active');
    expect(performance.now() - since).toBeLessThan(3_000);
  });

  it('page and client say that the relay rejects the link', { timeout: LIMIT_MS }, async () => {
    const relay = await startRelay();
    const other = await startRelay();
    const secret = await invite(relay, 'laptop', { url: other.url });
    const client = spawnClient(secret, { args: ['--tether', '127.0.0.1:0', '--no-direct'] });
    const page = await (await Phone.start()).open(await nextCode(client));
    await page.until('refused');
    expect(await client.event('retrying')).toMatchObject({ code: 'WSTUN-E218' });
  });
});

describe('through a phone', () => {
  it('16 MiB go each way through a phone, whole, by SOCKS5 and by HTTP', { timeout: LIMIT_MS }, async () => {
    const { port, page } = await startTethered();
    const uploads: Promise<unknown>[] = [];
    const sink = await tcpServer((socket) => uploads.push(receive(socket)));
    const source = await tcpServer((socket) => uploads.push(sendPayload(socket, 16 * MIB, 2)));
    for (const protocol of ['SOCKS5', 'CONNECT'] as const) {
      const sent = await sendPayload(await connectThrough(protocol, port, sink), 16 * MIB, 1);
      expect(await uploads.at(-1)).toEqual({ bytes: 16 * MIB, hash: sent });
      const got = await receive(await connectThrough(protocol, port, source));
      expect(got).toEqual({ bytes: 16 * MIB, hash: await uploads.at(-1) });
    }
    await vi.waitFor(async () => expect(await page.text('used')).toMatch(/^(6[7-9]|7\d) MB$/), 30_000);
  });

  it('100 streams go through a phone at once, each with its own bytes', { timeout: LIMIT_MS }, async () => {
    const { port } = await startTethered();
    const target = await tcpServer(echo);
    const exchanges = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => exchange(await connectThrough('SOCKS5', port, target), MIB / 4, i)),
    );
    for (const { sent, received } of exchanges) expect(received).toEqual({ bytes: MIB / 4, hash: sent });
    expect(new Set(exchanges.map(({ sent }) => sent)).size).toBe(100);
  });

  it('curl and a browser on the laptop get a page through a phone', { timeout: LIMIT_MS }, async () => {
    const name = 'www.wstun-e2e.net';
    const dns = await startDnsServer({ [name]: { addresses: ['127.0.0.1'] } });
    atEnd(() => dns.close());
    const web = createServer((_request, response) => response.end('<title>by phone</title>hello'));
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    atEnd(() => void web.close().closeAllConnections());
    const url = `http://${name}:${(web.address() as AddressInfo).port}/`;
    const { port } = await startTethered({ relay: { dns } });
    const fetched = await run('curl', ['-q', '-sS', '-x', `socks5h://127.0.0.1:${port}`, url]);
    expect(fetched).toMatchObject({ code: 0, stdout: '<title>by phone</title>hello' });
    const laptop = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu'],
      proxy: { server: `socks5://127.0.0.1:${port}` },
    });
    atEnd(() => laptop.close());
    const page = await laptop.newPage();
    await page.goto(url);
    expect(await page.title()).toBe('by phone');
  });

  it('connections through a phone outlive its page, and a reload needs no new code', {
    timeout: LIMIT_MS,
  }, async () => {
    const { port, page, client } = await startTethered();
    const target = await tcpServer(echo);
    const codes = () => client.events.filter(({ event }) => event === 'tether-code').length;
    const before = codes();
    for (let i = 0; i < 3; i++) {
      const socket = await connectThrough('SOCKS5', port, target);
      await page.reload();
      await client.event('resumed');
      await page.until('active');
      const { sent, received } = await exchange(socket, MIB, i);
      expect(received.hash).toBe(sent);
    }
    expect(client.events.filter(({ event }) => event === 'tether-paired').map(({ again }) => again)).toEqual([
      false,
      true,
      true,
      true,
    ]);
    expect(codes()).toBe(before);
  });

  it('another page takes over within two seconds when the active one is closed', { timeout: LIMIT_MS }, async () => {
    const { port, phone, page, client } = await startTethered();
    const target = await tcpServer(echo);
    client.type('\n');
    const second = await phone.open(await nextCode(client));
    await second.until('active');
    await page.until('standby');
    const socket = await connectThrough('SOCKS5', port, target);
    const since = performance.now();
    await second.close();
    await page.until('active');
    expect(performance.now() - since).toBeLessThan(2_000);
    const { sent, received } = await exchange(socket, MIB, 1);
    expect(received.hash).toBe(sent);
  });
});

/** Keeps all that the page's own WebSockets send and receive, where a test can look at it. */
const RECORD = `(() => {
  const seen = (window.seen = []);
  const keep = (data) => seen.push(typeof data === 'string' ? new TextEncoder().encode(data) : new Uint8Array(data).slice());
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      keep(args[0]);
      this.addEventListener('message', ({ data }) => keep(data));
    }
    send(data) {
      keep(data);
      super.send(data);
    }
  };
})()`;

/** Of the record: as text, where a whole base64 for each message is joined by spaces. */
async function recorded(page: PhonePage): Promise<Buffer[]> {
  const text = await page.evaluate<string>(
    `window.seen.map((bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))).join(' ')`,
  );
  return text.split(' ').map((part) => Buffer.from(part, 'base64'));
}

describe('a page that records all it carries', () => {
  it('a page that records all it carries sees neither the payload nor the name of the destination', {
    timeout: LIMIT_MS,
  }, async () => {
    const [up, down] = [randomBytes(32), randomBytes(32)];
    const name = `canary-${randomBytes(8).toString('hex')}.wstun-e2e.net`;
    const target = await tcpServer((socket) => socket.once('data', () => socket.write(down)));
    const dns = await startDnsServer({ [name]: { addresses: ['127.0.0.1'] } });
    atEnd(() => dns.close());
    const { port, page } = await startTethered({ relay: { dns }, script: RECORD });
    const socket = await connectThrough('SOCKS5', port, target, name);
    socket.write(up);
    expect((await take(socket, 32)).equals(down)).toBe(true);
    const seen = await recorded(page);
    expect(seen.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(500);
    expect([up, down, Buffer.from(name)].map((secret) => occurrences(secret, seen))).toEqual([0, 0, 0]);
    expect(dns.questions).toContain(`A ${name}`);
  });

  it('the search in the record of a page finds what is there', { timeout: LIMIT_MS }, async () => {
    const [up, down] = [randomBytes(32), randomBytes(32)];
    const { far, near, page } = await rawLink(RECORD);
    near.send([up]);
    await far.at.untilMessages(1);
    far.link.send([down]);
    await vi.waitFor(async () => {
      const seen = await recorded(page);
      // Once in, once out.
      expect([up, down].map((secret) => occurrences(secret, seen))).toEqual([2, 2]);
    });
  });
});

/** Delays the page's local connections until `letThrough` is called. Counts messages of upstream connections. */
const SLOW_NEAR_LEG = `(() => {
  const gate = new Promise((resolve) => (window.letThrough = resolve));
  window.far = { messages: 0, closed: false };
  window.WebSocket = class extends WebSocket {
    constructor(url) {
      super(url);
      if (!url.endsWith('/ticket')) return;
      this.addEventListener('message', () => (window.far.messages += 1));
      this.addEventListener('close', () => (window.far.closed = true));
    }
    set onopen(handler) {
      super.onopen = this.url.includes('/link/') && handler ? (event) => gate.then(() => handler(event)) : handler;
    }
  };
})()`;

describe('what the relay says before the laptop is there', () => {
  it('the page keeps what the relay sends before the laptop is connected, in order, with the end after it', {
    timeout: LIMIT_MS,
  }, async () => {
    const { near, far, page } = await rawLink(SLOW_NEAR_LEG);
    const at = new LinkRecorder(near);
    for (const byte of [1, 2, 3]) far.link.send([Uint8Array.of(byte)]);
    far.link.close();
    await vi.waitFor(async () => expect(await page.evaluate('far')).toEqual({ messages: 3, closed: true }), 5_000);
    expect([at.messages.length, at.closes.length]).toEqual([0, 0]);
    await page.evaluate('letThrough()');
    await at.untilClosed();
    expect(at.messages.map((message) => [...message])).toEqual([[1], [2], [3]]);
    expect(at.closes[0]?.clean).toBe(true);
  });

  it('the page keeps at most 64 KiB of what the relay sends before the laptop is connected, and ends the link with more', {
    timeout: LIMIT_MS,
  }, async () => {
    const { near, far } = await rawLink(SLOW_NEAR_LEG);
    const at = new LinkRecorder(near);
    for (let i = 0; i < 2; i++) far.link.send([randomBytes(40_000)]);
    await at.untilClosed();
    expect(at.messages).toEqual([]);
    expect(at.closes[0]?.clean).toBe(false);
  });

  it('the answer that the exit is absent reaches a client through a phone at once', { timeout: LIMIT_MS }, async () => {
    const { exit } = await startBehindRelay();
    const secret = await invite(exit, 'alice');
    const plain = await startClient(secret);
    await exit.process.kill();
    await until(() => plain.process.events.some(({ code }) => code === 'WSTUN-E212'));
    const client = spawnClient(secret, { args: ['--tether', '127.0.0.1:0', '--no-direct'] });
    await (await Phone.start()).open(await nextCode(client));
    await client.event('tether-paired');
    const since = performance.now();
    expect(await client.event('retrying')).toMatchObject({ code: 'WSTUN-E212' });
    expect(performance.now() - since).toBeLessThan(2_000);
  });

  it('the proof that the relay’s keys were rotated reaches a client through a phone, and ends it', {
    timeout: LIMIT_MS,
  }, async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'alice');
    await (await startClient(secret)).process.kill();
    expect(await wstun(['keys', 'rotate', '--state', relay.state])).toMatchObject({ code: 0 });
    // By which the relay promises to have them in force.
    await expectRefused(secret);
    const client = spawnClient(secret, { args: ['--tether', '127.0.0.1:0', '--no-direct'] });
    await (await Phone.start()).open(await nextCode(client));
    await client.event('tether-paired');
    const since = performance.now();
    expect(await client.exited).toBe(77);
    expect(performance.now() - since).toBeLessThan(5_000);
    expect(client.stderr).toContain('WSTUN-E215');
  });
});

/** Until a client without a phone is told that its invite is revoked. */
async function expectRefused(secret: string): Promise<void> {
  const plain = spawnClient(secret);
  expect(await plain.exited).toBe(77);
  expect(plain.stderr).toContain('WSTUN-E215');
}

describe('over http on a local network', () => {
  it('the page pairs and keeps the screen on over http, without what browsers allow only for https', {
    timeout: LIMIT_MS,
  }, async () => {
    const { server, code } = await startLaptop({ publicHost: 'laptop.wstun-e2e.net' });
    const phone = await Phone.start({ args: ['--host-resolver-rules=MAP *.wstun-e2e.net 127.0.0.1'] });
    const page = await phone.open(code());
    await page.until('idle');
    expect(server.pages).toBe(1);
    expect(await page.evaluate('[isSecureContext, "wakeLock" in navigator, typeof crypto.subtle]')).toEqual([
      false,
      false,
      'undefined',
    ]);
    const played = 'document.getElementById("movie").currentTime > 0 && !document.getElementById("movie").paused';
    await vi.waitFor(async () => expect(await page.evaluate(played)).toBe(true), 5_000);
    expect(await page.text('awake')).toBe('Keeping the screen on');
    expect(page.complaints()).toEqual([]);
  });

  it('a page of another site cannot pair, not even with the secret', { timeout: LIMIT_MS }, async () => {
    const { server, code } = await startLaptop();
    const phone = await Phone.start();
    const page = await phone.open('data:text/html,<title>evil</title>');
    const target = `ws://${new URL(code()).host}/control`;
    const outcome = `new Promise((resolve) => {
      const socket = new WebSocket(${JSON.stringify(target)});
      socket.onopen = () => resolve('open');
      socket.onerror = () => resolve('refused');
    })`;
    expect(await page.evaluate(outcome)).toBe('refused');
    expect(server.pages).toBe(0);
  });
});

describe('wstun client --tether', () => {
  it('`wstun client --tether` rejects --encryption off, since the phone could read everything', async () => {
    const relay = await startRelay();
    const client = spawnClient(await invite(relay, 'bob'), {
      args: ['--tether', '127.0.0.1:0', '--encryption', 'off'],
    });
    expect(await client.exited).toBe(2);
    expect(client.stderr).toContain('WSTUN-E120');
    expect(client.events).toMatchObject([{ event: 'ended', code: 'WSTUN-E120' }]);
  });

  it('`wstun client --tether` ends at a signal at once, with a paired phone and a half-paired one', {
    timeout: LIMIT_MS,
  }, async () => {
    const { client, page } = await startTethered();
    const code = String(client.events.find(({ event }) => event === 'tether-code')?.url);
    const half = openSocket(new URL(code).host, '/control');
    expect(await statusOf(half)).toBe(101);
    const since = performance.now();
    client.signal('SIGINT');
    expect(await client.exited).toBe(0);
    expect(performance.now() - since).toBeLessThan(2_000);
    await page.until('gone');
  });

  it('`wstun client --tether` prefers the direct connector while it works', { timeout: LIMIT_MS }, async () => {
    const relay = await startRelay();
    const client = spawnClient(await invite(relay, 'bob'), { args: ['--tether', '127.0.0.1:0'] });
    const code = await nextCode(client);
    await client.event('ready');
    const page = await (await Phone.start()).open(code);
    await page.until('direct', 20_000);
    expect(await page.text('detail')).toContain('has its own connection');
  });

  it('`wstun client --tether` without a phone says that the relay cannot be reached, and connects soon after it is back', {
    timeout: LIMIT_MS,
  }, async () => {
    const relay = await startRelay();
    const client = spawnClient(await invite(relay, 'bob'), { args: ['--tether', '127.0.0.1:0'] });
    await client.event('ready');
    await relay.process.kill();
    expect(await client.event('retrying')).toMatchObject({ code: 'WSTUN-E201' });
    await startRelay({ state: relay.state, port: relay.port });
    const since = performance.now();
    await client.event('connected');
    // The wait after the third failure, at most.
    expect(performance.now() - since).toBeLessThan(15_000);
  });

  it('`wstun client --tether` without a phone says that the relay does not know its invite, and keeps trying', async () => {
    const [relay, other] = [await startRelay(), await startRelay()];
    const secret = await invite(relay, 'bob', { url: other.url });
    const client = spawnClient(secret, { args: ['--tether', '127.0.0.1:0'] });
    expect(await client.event('retrying')).toMatchObject({ code: 'WSTUN-E202' });
  });

  it('`wstun client --tether` uses a phone that joins where the direct connector does not work', {
    timeout: LIMIT_MS,
  }, async () => {
    const relay = await startRelay();
    // A name that only the phone's network knows.
    const url = relay.url.replace('127.0.0.1', 'relay.wstun-e2e.net');
    const secret = await invite(relay, 'bob', { url });
    const client = spawnClient(secret, { args: ['--tether', '127.0.0.1:0'] });
    const code = await nextCode(client);
    await client.event('retrying');
    const phone = await Phone.start({ args: ['--host-resolver-rules=MAP *.wstun-e2e.net 127.0.0.1'] });
    const page = await phone.open(code);
    await client.event('tether-paired');
    const since = performance.now();
    await client.event('ready');
    expect(performance.now() - since).toBeLessThan(2_000);
    await page.until('active');
  });

  it('`wstun client --tether` prints a code that can be scanned, and its address', async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'bob');
    const args = ['client', '--listen', '127.0.0.1:0', '--tether', '127.0.0.1:0'];
    const client = new WstunProcess(args, { env: { WSTUN_INVITE: secret } });
    await until(() => /█{3}/.test(client.stderr), 20_000);
    const said = client.stderr;
    expect(said).toMatch(/█{3}/);
    expect(said).toMatch(/^ {2}http:\/\/127\.0\.0\.1:\d+\/#[\w-]{22}$/m);
  });
});
