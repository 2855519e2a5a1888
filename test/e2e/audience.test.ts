/**
 * Relays that share keys, as real processes: what somebody has recorded before one of them opens nothing at another,
 * and shows nothing there. And one relay that has several names, or another one than before.
 */
import { randomBytes } from 'node:crypto';
import { cp } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeInvite, encodeInvite } from '../../src/crypto/invite.ts';
import { audienceOf, HTTP_FEATURE, TicketSealer } from '../../src/crypto/ticket.ts';
import { type RecordingProxy, recordingProxy } from '../support/net/recording-proxy.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { freePort } from '../support/programs/programs.ts';
import {
  invite,
  type RunningClient,
  type RunningRelay,
  spawnClient,
  startClient,
  startExit,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { rawExchange, withoutDate } from '../support/proxy/raw-http.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const FIELDS = { role: 'client', destination: '', protocol: 1, features: 0 } as const;
const TICKET = /\/([\w-]{168}) HTTP\/1\.1\r\n/;

async function carries({ port }: RunningClient): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
  const { sent, received } = await exchange(socket, 100_000);
  expect(received).toEqual({ bytes: 100_000, hash: sent });
  socket.destroy();
}

const urlAt = (port: number, path = ''): string => `ws://127.0.0.1:${port}${path}`;

/** A second relay with a copy of all that the first one keeps. */
async function copyOf({ state }: RunningRelay): Promise<string> {
  const copied = join(await tempDir(), 'state');
  // Of a relay that runs: but for its control socket.
  await cp(state, copied, { recursive: true, filter: (path) => !path.endsWith('control') });
  return copied;
}

function head(ticket: string, isUpgrade = true): string {
  const key = `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`;
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', key];
  const fields = ['Host: relay', ...(isUpgrade ? upgrade : [])];
  return `${[`GET /${ticket} HTTP/1.1`, ...fields].join('\r\n')}\r\n\r\n`;
}

/** What comes of it, until the connection ends or is silent for long. */
async function answer(port: number, request: string | Buffer): Promise<{ said: string; end: string }> {
  const { bytes, end } = await rawExchange(port, request, { limitMs: 500 });
  return { said: withoutDate(bytes), end };
}

describe('relays that share keys', () => {
  let proxies: readonly RecordingProxy[];
  let relays: readonly RunningRelay[];
  let sealer: TicketSealer;
  const urlOf = (at: number) => urlAt(proxies[at]?.port ?? 0);
  const portOf = (at: number) => relays[at]?.port ?? 0;

  beforeAll(async () => {
    const ports = await Promise.all([freePort(), freePort()]);
    proxies = await Promise.all(ports.map(recordingProxy));
    const [a, b] = [urlOf(0), urlOf(1)];
    const first = await startRelay({ port: ports[0] ?? 0, args: ['--url', a, '--url', b] });
    await invite(first, 'alice', { allow: ['*'] });
    const state = await copyOf(first);
    const second = await startRelay({ port: ports[1] ?? 0, state, args: ['--url', b, '--url', a] });
    relays = [first, second];
    const { peer, relayGateKey } = decodeInvite(first.invite ?? '');
    sealer = new TicketSealer(peer, relayGateKey);
  });

  /** The first bytes of each connection that came to one of them since, with a ticket in them. */
  function requests(at: number, from: number): string[] {
    const all = proxies[at]?.recorded() ?? [];
    return all.slice(from).flatMap((bytes) => {
      const text = bytes.toString('latin1');
      return TICKET.test(text) ? [text.slice(0, text.indexOf('\r\n\r\n') + 4)] : [];
    });
  }

  it.each(['websocket', 'http'])(
    'the requests of a client, recorded before one of them, are those of a stranger at the other, byte for byte: %s',
    async (transport) => {
      const from = proxies[0]?.recorded().length ?? 0;
      const [a, b] = [urlOf(0), urlOf(1)];
      const secret = await invite(relays[0] as RunningRelay, `by-${transport}`, { allow: ['*'], urls: [a, b] });
      const client = await startClient(secret, { args: ['--transport', transport] });
      await carries(client);
      const recorded = requests(0, from);
      expect(recorded.length).toBeGreaterThan(0);
      for (const request of recorded) {
        const [, ticket = ''] = TICKET.exec(request) ?? [];
        const strangers = request.replace(ticket, randomBytes(126).toString('base64url'));
        for (const at of [0, 1]) {
          const [replayed, unknown] = await Promise.all([answer(portOf(at), request), answer(portOf(at), strangers)]);
          expect(replayed).toEqual(unknown);
          expect(replayed.said).toMatch(/^HTTP\/1\.1 404 /);
          expect(replayed.said).not.toMatch(/etag/i);
        }
      }
    },
  );

  it('the requests of an exit, and of its answer to a call, are those of a stranger at the other', async () => {
    const from = proxies[0]?.recorded().length ?? 0;
    const a = urlOf(0);
    const exit = await startExit({ invite: await invite(relays[0] as RunningRelay, 'home', { role: 'exit', url: a }) });
    await carries(await startClient(await invite(exit, 'bob', { allow: ['*'], url: a })));
    const recorded = requests(0, from);
    // The control link, the client’s link, and the exit’s link for it, at least.
    expect(recorded.length).toBeGreaterThanOrEqual(3);
    for (const request of recorded) {
      const [, ticket = ''] = TICKET.exec(request) ?? [];
      const strangers = request.replace(ticket, randomBytes(126).toString('base64url'));
      expect(await answer(portOf(1), request)).toEqual(await answer(portOf(1), strangers));
    }
  });

  it('a fresh ticket that comes first to the wrong one is not used up, and opens where it is meant to', async () => {
    for (const features of [0, HTTP_FEATURE]) {
      const ticket = sealer.seal({ ...FIELDS, features }, Date.now(), audienceOf(urlOf(0)));
      const request = head(ticket, features === 0);
      const strangers = await answer(portOf(1), head(randomBytes(126).toString('base64url'), features === 0));
      expect(await answer(portOf(1), request)).toEqual(strangers);
      expect(await answer(portOf(1), request)).toEqual(strangers);
      expect((await answer(portOf(0), request)).said).toMatch(features === 0 ? /^HTTP\/1\.1 101 / : /^HTTP\/1\.1 200 /);
      for (const at of [0, 1]) expect(await answer(portOf(at), request)).toEqual(strangers);
    }
  });

  it('what a front end has done to a request is not told either', async () => {
    const ticket = sealer.seal(FIELDS, Date.now(), audienceOf(urlOf(0)));
    const unknown = await answer(portOf(1), head(randomBytes(126).toString('base64url'), false));
    expect(await answer(portOf(1), head(ticket, false))).toEqual(unknown);
    expect((await answer(portOf(0), head(ticket, false))).said).toMatch(/\r\nETag: "/);
  });

  it('the log of the wrong one says for which relay they are and what to do, and never the ticket', async () => {
    const ticket = sealer.seal(FIELDS, Date.now(), audienceOf(urlOf(0)));
    await answer(portOf(1), head(ticket));
    const { process } = relays[1] as RunningRelay;
    await until(() => process.stderr.includes('misdirected'));
    expect(process.stderr).toContain(`is for ${urlOf(0)}, which is another relay with these keys`);
    expect(process.stderr).not.toContain(ticket);
  });

  it('a ticket of an older peer, which says no relay, opens once at each', async () => {
    const request = head(sealer.seal(FIELDS, Date.now()));
    for (const at of [0, 1]) expect((await answer(portOf(at), request)).said).toMatch(/^HTTP\/1\.1 101 /);
    for (const at of [0, 1]) expect((await answer(portOf(at), request)).said).toMatch(/^HTTP\/1\.1 404 /);
  });
});

/** A site that has one page, whatever is asked. */
async function startSite(): Promise<string> {
  const site = createServer((_request, response) => response.end('a page'));
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  atEnd(() => site.close());
  return `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
}

describe('a relay with a site for strangers, beside another one with the same keys', () => {
  it('a ticket for the other one gets the site, whenever and however often it comes', async () => {
    const other = await startRelay({ args: ['--url', 'wss://other.example'] });
    const { peer, relayGateKey } = decodeInvite(other.invite ?? '');
    const args = ['--url', 'wss://relay.example', '--decoy', await startSite()];
    const { port } = await startRelay({ state: await copyOf(other), args });
    for (const features of [0, HTTP_FEATURE]) {
      const fields = { ...FIELDS, features };
      const ticket = new TicketSealer(peer, relayGateKey).seal(fields, Date.now(), audienceOf('wss://other.example'));
      const strangers = await answer(port, head(randomBytes(126).toString('base64url'), features === 0));
      expect(strangers.said).toContain('a page');
      for (let i = 0; i < 3; i++) expect(await answer(port, head(ticket, features === 0))).toEqual(strangers);
      expect((await answer(other.port, head(ticket, features === 0))).said).toMatch(/^HTTP\/1\.1 (101|200) /);
    }
  });
});

describe('one relay with several names', () => {
  /** Both lead to it, the first one not any more. */
  async function startNamed(args: readonly string[] = []): Promise<{ relay: RunningRelay; b: string }> {
    const [gone, port] = [await freePort(), await freePort()];
    const b = urlAt(port, '/any/path');
    return { relay: await startRelay({ port, args: ['--url', urlAt(gone), '--url', b, ...args] }), b };
  }

  it('a client and an exit come in by the second one, although it is not said to be its own, and the log names the remedy', async () => {
    const { relay, b } = await startNamed();
    await carries(await startClient(await invite(relay, 'alice', { allow: ['*'] })));
    await until(() => relay.process.stderr.includes(`--own-url ${b}`));
    const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit' }) });
    await carries(await startClient(await invite(exit, 'bob', { allow: ['*'] })));
  });

  it('the same by HTTP requests, and where a site answers 200 to every stranger', async () => {
    const { relay } = await startNamed(['--decoy', await startSite()]);
    for (const transport of ['websocket', 'http']) {
      const secret = await invite(relay, `by-${transport}`, { allow: ['*'] });
      await carries(await startClient(secret, { args: ['--transport', transport] }));
    }
  });

  it('with --own-url no ticket is rejected', async () => {
    const [gone, port] = [await freePort(), await freePort()];
    const b = urlAt(port);
    const relay = await startRelay({ port, args: ['--url', urlAt(gone), '--url', b, '--own-url', b] });
    await carries(await startClient(await invite(relay, 'alice', { allow: ['*'] })));
    expect(relay.process.stderr).not.toContain('misdirected');
  });

  it('a client that connects elsewhere than the URL says has tickets for the URL', async () => {
    const relay = await startRelay({ args: ['--url', 'ws://relay.example/any/path'] });
    const args = ['--connect-to', `127.0.0.1:${relay.port}`, '--host', 'other.example'];
    await carries(await startClient(await invite(relay, 'alice', { allow: ['*'] }), { args }));
    expect(relay.process.stderr).not.toContain('misdirected');
  });
});

/** To a relay, under another port. */
function forward(near: Socket, port: number): void {
  const far = connect(port, '127.0.0.1');
  far.on('error', () => near.destroy());
  near.on('error', () => far.destroy());
  near.on('close', () => far.destroy());
  near.pipe(far).pipe(near);
}

describe('a relay whose URL changes', () => {
  it('invites with its earlier URLs go on working, and those that are made with another name while it runs', async () => {
    const [port, near] = [await freePort(), await tcpServer((socket) => forward(socket, port))];
    const before = await startRelay({ port, args: ['--url', urlAt(near)] });
    const old = await invite(before, 'alice', { allow: ['*'] });
    before.process.signal('SIGTERM');
    await before.process.exited;
    const relay = await startRelay({ port, state: before.state, args: ['--url', 'ws://relay.example'] });
    await carries(await startClient(old));
    await carries(await startClient(await invite(relay, 'bob', { allow: ['*'], url: urlAt(port) })));
    expect(relay.process.stderr).not.toContain('misdirected');
    const elsewhere = [urlAt(await tcpServer((socket) => forward(socket, port)))];
    const refused = spawnClient(encodeInvite({ ...decodeInvite(old), relayUrls: elsewhere }), { args: ['--once'] });
    expect(await refused.exited).not.toBe(0);
    expect(refused.stderr).toContain('WSTUN-E202');
    await until(() => relay.process.stderr.includes('is for another URL than those of this relay'));
  });
});
