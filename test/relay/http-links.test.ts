/**
 * The relay's side of HTTP links, by requests that a client would not make. @module-tag waits
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Clock, systemClock } from '../../src/clock.ts';
import { HTTP_FEATURE, type HttpLinkKey } from '../../src/crypto/ticket.ts';
import type { RelayServerOptions } from '../../src/relay/relay-server.ts';
import { encodeRequest, type LinkRequest } from '../../src/transport/http/link-requests.ts';
import { type HttpLinkServer, startHttpLinkServer } from '../support/links/http-pair.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { openRaw, rawExchange, withoutDate } from '../support/proxy/raw-http.ts';
import { until } from '../support/until.ts';

async function start(overrides: Partial<RelayServerOptions> = {}): Promise<HttpLinkServer> {
  const server = await startHttpLinkServer(overrides);
  onTestFinished(() => server.close());
  return server;
}

/** An open link whose client is this test. */
async function opened(server: HttpLinkServer) {
  const ticket = server.sealer.seal(
    { role: 'client', destination: '', protocol: 1, features: HTTP_FEATURE },
    Date.now(),
  );
  const key = server.sealer.httpLinkKey(ticket);
  const down = openRaw(server.port);
  onTestFinished(() => void down.destroy());
  const bytes: Buffer[] = [];
  down.on('data', (chunk: Buffer) => bytes.push(chunk));
  down.write(`GET /${ticket} HTTP/1.1\r\nHost: relay\r\n\r\n`);
  const link = await server.nextLink();
  const recorder = new LinkRecorder(link);
  await until(() => Buffer.concat(bytes).includes('octet-stream'));
  return { link, recorder, key, ticket, down, heard: () => Buffer.concat(bytes) };
}

function segment(key: HttpLinkKey, fields: Partial<LinkRequest>): string {
  const request: LinkRequest = { kind: 'up', sequence: 1, offset: 0, received: 0, waitMs: 0, ...fields };
  return key.seal(encodeRequest(request));
}

async function ask(server: HttpLinkServer, method: string, path: string, body?: Buffer, fields = ''): Promise<string> {
  const length = body === undefined ? '' : `Content-Length: ${body.length}\r\n`;
  const head = `${method} /${path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n${fields}${length}\r\n`;
  const { bytes } = await rawExchange(server.port, Buffer.concat([Buffer.from(head), body ?? Buffer.alloc(0)]), {
    tls: false,
  });
  return withoutDate(bytes);
}

/** So that limits of seconds are over in tenths. */
const tenTimesAsFast: Clock = {
  ...systemClock,
  now: () => systemClock.now() * 10,
  setTimeout: <T>(callback: (argument: T) => void, delayMs: number, argument?: T) =>
    systemClock.setTimeout(callback, delayMs / 10, argument as T),
};

const NEW_LINK = { role: 'client', destination: '', protocol: 1, features: HTTP_FEATURE } as const;

/** What the relay answers until it ends the connection; ECONNREFUSED if it accepts none. */
async function answerTo(port: number, sent: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', ({ code }: NodeJS.ErrnoException) => {
    if (code === 'ECONNREFUSED') text = code;
  });
  if (sent === '') socket.end();
  else socket.write(sent);
  await new Promise((resolve) => socket.on('close', resolve));
  return text;
}

const message = (text: string): Buffer => Buffer.concat([Buffer.from([1, 0, 0, text.length]), Buffer.from(text)]);

describe('requests of an HTTP link that no client makes', () => {
  const cases: [string, Partial<LinkRequest>, string?][] = [
    ['a body that begins more than 1 MiB ahead', { offset: 1_048_577 }],
    ['an offset that was not sent', { kind: 'down', offset: 1_000_000 }, 'GET'],
    ['a poll of what was not sent', { kind: 'poll', offset: 1_000_000 }, 'GET'],
    ['an acknowledgement of what was not sent', { received: 1_000_000 }],
    ['an up by GET', {}, 'GET'],
    ['a down by POST', { kind: 'down' }],
    ['a sequence of zero', { sequence: 0 }],
  ];

  it.each(cases)('a relay answers %s like a request of a stranger', async (_what, fields, method = 'POST') => {
    const server = await start();
    const { key, recorder } = await opened(server);
    const body = method === 'POST' ? message('x') : undefined;
    const stranger = await ask(server, method, 'x'.repeat(168), body);
    expect(stranger).toContain('404');
    expect(await ask(server, method, segment(key, fields), body)).toBe(stranger);
    expect(recorder.messages).toEqual([]);
  });

  it('a relay answers a replayed, altered, foreign or too long request like one of a stranger', async () => {
    const server = await start();
    const { key, ticket, recorder } = await opened(server);
    const other = await opened(server);
    const path = segment(key, {});
    const stranger = await ask(server, 'POST', 'x'.repeat(168), message('one'));
    expect(await ask(server, 'POST', path, message('one'))).toContain('200 OK');
    await recorder.untilMessages(1);
    const altered = `${path.slice(0, -1)}${path.endsWith('A') ? 'B' : 'A'}`;
    const foreign = segment(other.key, { sequence: 9 });
    const mixed = `${path.slice(0, 10)}${foreign.slice(10)}`;
    for (const bad of [path, altered, mixed, ticket])
      expect(await ask(server, 'POST', bad, message('two'))).toBe(stranger);
    const long = segment(key, { sequence: 2 });
    const head = `POST /${long} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\nContent-Length: 524289\r\n\r\n`;
    const { bytes } = await rawExchange(server.port, head, { tls: false });
    expect(withoutDate(bytes)).toBe(stranger);
    const page = 'Origin: https://example.org\r\n';
    const fromPage = await ask(server, 'POST', segment(key, { sequence: 3 }), message('two'), page);
    expect(fromPage).toBe(await ask(server, 'POST', 'x'.repeat(168), message('two'), page));
    expect(recorder.messages.map(String)).toEqual(['one']);
  });

  it('a relay ends an HTTP link for a block that it must not skip, and skips others', async () => {
    const server = await start();
    const { key, recorder } = await opened(server);
    const skipped = Buffer.from([0x80, 0, 0, 1, 7, 0, 0, 0, 2, 1, 1]);
    const body = Buffer.concat([skipped, message('one')]);
    await ask(server, 'POST', segment(key, {}), body);
    await recorder.untilMessages(1);
    await ask(server, 'POST', segment(key, { sequence: 2, offset: body.length }), Buffer.from([3, 0, 0, 0]));
    await recorder.untilClosed();
    expect(recorder.closes).toEqual([{ clean: false, text: 'the peer sent a block of type 3' }]);
  });

  it('a relay reads half a million tiny blocks in one body', async () => {
    const server = await start();
    const { key, recorder } = await opened(server);
    const since = performance.now();
    const answer = await ask(server, 'POST', segment(key, {}), Buffer.alloc(524_288));
    expect(answer).toContain('200 OK');
    const empty = Buffer.alloc(524_288);
    for (let i = 0; i < empty.length; i += 4) empty[i] = 1;
    await ask(server, 'POST', segment(key, { sequence: 2, offset: 524_288 }), empty);
    await recorder.untilMessages(131_072);
    expect(performance.now() - since).toBeLessThan(5_000);
  });

  it('a relay that has ended a link says so to its client, and to nobody else', async () => {
    const server = await start();
    const { key, link, recorder } = await opened(server);
    const stranger = await ask(server, 'POST', 'x'.repeat(168), message('one'));
    link.abort();
    await recorder.untilClosed();
    const path = segment(key, {});
    expect(await ask(server, 'POST', path, message('one'))).toContain('\xff'.repeat(8));
    expect(await ask(server, 'POST', path, message('one'))).toBe(stranger);
    expect(server.relay.linksFree).toBe(10_000);
  });
});

describe('what a client can make a relay hold', () => {
  it('a client that does not read makes an HTTP link hold a window and a queue, and no more', async () => {
    const server = await start();
    const { link, down } = await opened(server);
    down.pause();
    let sent = 0;
    while (link.send([new Uint8Array(60_000)]) && sent < 100) {
      sent += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(sent * 60_000).toBeLessThan(2_097_152 + 3 * 131_072);
    expect(link.queuedBytes).toBeLessThan(2 * 131_072);
  });

  it('a flood of down requests leaves one answer, and three connections at most', async () => {
    const server = await start();
    const { key, link, recorder } = await opened(server);
    for (let i = 1; i <= 40; i++) {
      const socket = openRaw(server.port);
      onTestFinished(() => void socket.destroy());
      const path = segment(key, { kind: 'down', sequence: i, offset: 'all-ones' });
      socket.write(`GET /${path} HTTP/1.1\r\nHost: relay\r\n\r\n`);
      await once(socket, 'readable');
    }
    link.send([Buffer.from('hello')]);
    expect(link.queuedBytes).toBeLessThan(100);
    expect(recorder.closes).toEqual([]);
    expect(server.relay.linksFree).toBe(9_999);
  });

  it('a body that progresses may take longer than the request of a stranger, and one that stands still is cut', async () => {
    const server = await start({ limits: { requestMs: 500 }, clock: tenTimesAsFast });
    const { key, recorder } = await opened(server);
    const body = message('x'.repeat(30));
    const slow = openRaw(server.port);
    const still = openRaw(server.port);
    onTestFinished(() => void slow.destroy());
    let answer = '';
    slow.on('data', (chunk) => {
      answer += String(chunk);
    });
    const head = (sequence: number): string =>
      `POST /${segment(key, { sequence })} HTTP/1.1\r\nHost: relay\r\nContent-Length: ${body.length}\r\n\r\n`;
    still.on('error', () => {});
    still.write(head(2));
    slow.write(head(1));
    const closed = once(still, 'close');
    for (const byte of body) {
      slow.write(Buffer.of(byte));
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    await until(() => answer.includes('200 OK'));
    await closed;
    await recorder.untilMessages(1);
  });

  it('an HTTP link counts as one link, and its connections are not pending while they carry its requests', async () => {
    const server = await start({ limits: { links: 1, pendingSockets: 2, pendingPerSource: 2 }, sourceOf: () => 'a' });
    const link = await server.dial();
    const recorder = new LinkRecorder(link);
    const far = await server.nextLink();
    const atFar = new LinkRecorder(far);
    expect(server.relay.linksFree).toBe(0);
    for (let i = 0; i < 20; i++) link.send([Buffer.alloc(50_000, i)]);
    await atFar.untilMessages(20);
    link.close();
    await recorder.untilClosed();
    await until(() => server.relay.linksFree === 1);
  });
});

it('an HTTP link carries messages both ways at a relay that accepts no connections any more', async () => {
  const server = await start();
  const link = await server.dial();
  const recorder = new LinkRecorder(link);
  const far = await server.nextLink();
  const atFar = new LinkRecorder(far);
  link.send([Buffer.from('before')]);
  await atFar.untilMessages(1);
  // Its connection is idle then.
  await new Promise((resolve) => setTimeout(resolve, 100));
  server.relay.close();
  link.send([Buffer.from('after')]);
  await atFar.untilMessages(2);
  far.send([Buffer.from('back')]);
  await recorder.untilMessages(1);
});

it.each([false, true])(
  'a relay that drains serves new connections of its HTTP links alone (with upstream: %s)',
  async (hasSite) => {
    const site = createServer((_request, response) => response.end('the site'));
    site.listen(0, '127.0.0.1');
    await once(site, 'listening');
    onTestFinished(() => void site.close());
    const upstream = { host: '127.0.0.1', port: (site.address() as AddressInfo).port, isTls: false };
    const server = await start(hasSite ? { upstream } : {});
    const { key, recorder, link } = await opened(server);
    server.relay.drain();
    expect(await ask(server, 'POST', segment(key, {}), message('one'))).toContain('200 OK');
    await recorder.untilMessages(1);
    const ticket = server.sealer.seal(NEW_LINK, Date.now());
    const strangers = [
      'GET / HTTP/1.1\r\nHost: relay\r\n\r\n',
      `GET /${ticket} HTTP/1.1\r\nHost: relay\r\n\r\n`,
      'no HTTP\r\n\r\n',
    ];
    for (const sent of strangers) expect(await answerTo(server.port, sent)).toBe('');
    link.abort();
    await recorder.untilClosed();
    expect(await answerTo(server.port, '')).toBe('ECONNREFUSED');
  },
);

describe('an HTTP link at a relay that shows a site', () => {
  it('an HTTP link passes a relay with an upstream, and strangers see the upstream', async () => {
    const site = createServer((_request, response) => response.end('the site'));
    site.listen(0, '127.0.0.1');
    await once(site, 'listening');
    onTestFinished(() => void site.close());
    const { port } = site.address() as AddressInfo;
    const server = await start({ upstream: { host: '127.0.0.1', port, isTls: false } });
    const link = await server.dial();
    const recorder = new LinkRecorder(link);
    const far = await server.nextLink();
    const atFar = new LinkRecorder(far);
    for (let i = 0; i < 50; i++) {
      link.send([Buffer.alloc(20_000, i)]);
      far.send([Buffer.alloc(20_000, i)]);
    }
    await atFar.untilMessages(50);
    await recorder.untilMessages(50);
    expect(await ask(server, 'GET', 'x'.repeat(168))).toContain('the site');
  });
});
