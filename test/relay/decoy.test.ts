/**
 * A stranger cannot tell a relay from a node server that runs Koa and has no page: the same requests are put to both.
 *
 * @module-tag waits
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import Koa from 'koa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketOpener, TicketSealer } from '../../src/crypto/ticket.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { type RelayServer, startRelayServer } from '../../src/relay/relay-server.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { openRaw, rawExchange, readUntil, withoutDate } from '../support/proxy/raw-http.ts';

const relay = createIdentity();
const alice = createIdentity();
const sealer = new TicketSealer(alice, relay.public.gate);
const seal = (now = Date.now()): string =>
  sealer.seal({ role: 'client', destination: '', protocol: 1, features: 0 }, now);

const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
const UPGRADE = ['Host: relay', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', KEY];

let server: RelayServer;
let tlsServer: RelayServer;
let koa: Server;
let tlsKoa: Server;

/** Room for many probes at once. */
const REQUEST_MS = 3_000;
const TIMEOUTS = { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, connectionsCheckingInterval: 1_000 };
/** Has a server that keeps connections alive end this one, when it has answered what came before. */
const LAST = 'GET /last HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n';

async function start(tls?: { cert: string; key: string }): Promise<RelayServer> {
  const tickets = new TicketOpener(relay);
  tickets.setPeers([{ name: 'alice', gateKey: alice.public.gate, role: 'client', destination: '' }]);
  return await startRelayServer({
    listen: [{ host: '127.0.0.1', port: 0 }],
    ...(tls === undefined ? {} : { tls }),
    tickets,
    onLink: (link) => {
      link.setHandler({ handleMessage: () => {}, handleDrain: () => {}, handleClose: () => {} });
    },
    logger: silentLogger,
    limits: { requestMs: REQUEST_MS },
  });
}

beforeAll(async () => {
  const certificate = makeCertificate();
  server = await start();
  tlsServer = await start(certificate);
  const app = new Koa();
  app.silent = true;
  koa = createServer(TIMEOUTS, app.callback());
  tlsKoa = createTlsServer({ ...TIMEOUTS, ...certificate }, app.callback());
  for (const each of [koa, tlsKoa]) await once(each.listen(0, '127.0.0.1'), 'listening');
});

afterAll(() => {
  for (const each of [server, tlsServer, koa, tlsKoa]) each.close();
});

/** What a server says to these bytes until it ends the connection, the dates made the same. */
async function saidBy(port: number, request: string, tls: boolean): Promise<{ said: string; ends: boolean }> {
  const { bytes, end } = await rawExchange(port, request, { tls, limitMs: 30_000 });
  return { said: withoutDate(bytes), ends: end !== 'open' };
}

function head(line: string, headers: readonly string[]): string {
  return `${[line, ...headers].join('\r\n')}\r\n\r\n`;
}

/** The first of these answers, had its request asked for the connection's end. */
function closing(answers: string): string {
  const [head = '', rest = ''] = answers.split(/(?<=\r\n\r\n)/);
  const body = /Content-Length/.test(head) ? rest.slice(0, 'Not Found'.length) : '';
  return head.replace('Keep-Alive: timeout=5\r\n', '').replace('Connection: keep-alive', 'Connection: close') + body;
}

/** An upgrade that is right in everything but what the name says. */
function upgrade(target: string, change: (headers: string[]) => string[] = (headers) => headers): string {
  return head(`GET ${target} HTTP/1.1`, change([...UPGRADE]));
}

const without = (name: string) => (headers: string[]) => headers.filter((line) => !line.startsWith(name));
const plus =
  (...lines: string[]) =>
  (headers: string[]) => [...headers, ...lines];
const swap = (name: string, line: string) => (headers: string[]) => [...without(name)(headers), line];

/** A ticket that another request has used up. */
async function usedTicket(port: number, tls: boolean): Promise<string> {
  const ticket = seal();
  const socket = openRaw(port, tls);
  socket.write(upgrade(`/${ticket}`));
  expect(await readUntil(socket, '\r\n\r\n')).toMatch(/^HTTP\/1.1 101 /);
  socket.destroy();
  await once(socket, 'close');
  return ticket;
}

function strangerTicket(): string {
  const stranger = new TicketSealer(createIdentity(), relay.public.gate);
  return stranger.seal({ role: 'client', destination: '', protocol: 1, features: 0 }, Date.now());
}

const flip = (ticket: string, at: number): string =>
  ticket.slice(0, at) + (ticket[at] === 'A' ? 'B' : 'A') + ticket.slice(at + 1);

/** Too late or too early, but of an epoch next to ours: of others a relay knows no hints. */
function sealByWrongClock(): string {
  const now = Date.now();
  // Far enough ahead that it does not become valid while the test runs.
  return seal(now + (now % 120_000 > 60_000 ? -125_000 : 170_000));
}

/** What a prober may send; all must look like an unknown page. He can have seen a ticket pass, but none that is new. */
function probes(used: string): [name: string, request: string][] {
  const ok = used;
  return [
    ['an unknown page', head('GET /unknown HTTP/1.1', ['Host: relay'])],
    ['the front page', head('GET / HTTP/1.1', ['Host: relay'])],
    ['a page with keep-alive', head('GET /x HTTP/1.1', ['Host: relay', 'Connection: keep-alive'])],
    ['a page with close', head('GET /x HTTP/1.1', ['Host: relay', 'Connection: close'])],
    ['a page in HTTP/1.0', head('GET /x HTTP/1.0', [])],
    ['a page in HTTP/1.0 with keep-alive', head('GET /x HTTP/1.0', ['Connection: keep-alive'])],
    ['the page of a good ticket', head(`GET /${ok} HTTP/1.1`, ['Host: relay'])],
    ['a query', head('GET /x?a=b HTTP/1.1', ['Host: relay'])],
    ['an absolute target', head('GET http://elsewhere/x HTTP/1.1', ['Host: elsewhere'])],
    ['the health page', head('GET /healthz HTTP/1.1', ['Host: localhost'])],
    ['a POST with a body', `${head('POST /x HTTP/1.1', ['Host: relay', 'Content-Length: 5'])}hello`],
    ['a POST whose body does not come', head('POST /x HTTP/1.1', ['Host: relay', 'Content-Length: 5'])],
    [
      'a chunked POST',
      `${head('POST /x HTTP/1.1', ['Host: relay', 'Transfer-Encoding: chunked'])}5\r\nhello\r\n0\r\n\r\n`,
    ],
    [
      'a chunked POST that turns into garbage',
      `${head('POST /x HTTP/1.1', ['Host: relay', 'Transfer-Encoding: chunked'])}zz\r\n`,
    ],
    ['a body announced first', head('POST /x HTTP/1.1', ['Host: relay', 'Expect: 100-continue', 'Content-Length: 5'])],
    ['another expectation', head('POST /x HTTP/1.1', ['Host: relay', 'Expect: tea', 'Content-Length: 5'])],
    ['OPTIONS *', head('OPTIONS * HTTP/1.1', ['Host: relay'])],
    ['TRACE', head('TRACE / HTTP/1.1', ['Host: relay'])],
    ['PROPFIND', head('PROPFIND / HTTP/1.1', ['Host: relay'])],
    ['CONNECT', head('CONNECT target:443 HTTP/1.1', ['Host: target:443'])],
    ['CONNECT with data behind it', `${head('CONNECT target:443 HTTP/1.1', ['Host: target:443'])}data`],
    ['two requests at once', head('GET /x HTTP/1.1', ['Host: relay']).repeat(2)],
    ['a request and garbage', `${head('GET /x HTTP/1.1', ['Host: relay'])}\0\0\0garbage\r\n\r\n`],
    ['an upgrade without a ticket', upgrade('/')],
    ['an upgrade of a short path', upgrade('/socket')],
    ['a ticket of zeros', upgrade(`/${'A'.repeat(168)}`)],
    ["a stranger's ticket", upgrade(`/${strangerTicket()}`)],
    ['a ticket with its hint changed', upgrade(`/${flip(seal(), 3)}`)],
    ['a ticket with its nonce changed', upgrade(`/${flip(seal(), 30)}`)],
    ['a ticket with its box changed', upgrade(`/${flip(seal(), 100)}`)],
    ['a very late ticket', upgrade(`/${seal(Date.now() - 86_400_000)}`)],
    ['a used ticket', upgrade(`/${used}`)],
    ['a used ticket with frames behind it', `${upgrade(`/${used}`)}\x82\x80\0\0\0\0`],
    ['a ticket of one character less', upgrade(`/${seal().slice(1)}`)],
    ['a ticket with padding', upgrade(`/${seal()}=`)],
    ['a used ticket in a path', upgrade(`/a/${used}/b`)],
    ['a ticket in the query', upgrade(`/?${seal()}`)],
    ['a good ticket with an origin', upgrade(`/${seal()}`, plus('Origin: https://relay'))],
    ['a good ticket with a subprotocol', upgrade(`/${ok}`, plus('Sec-WebSocket-Protocol: chat'))],
    ['a good ticket with a malformed subprotocol', upgrade(`/${ok}`, plus('Sec-WebSocket-Protocol: ,,'))],
    ['a good ticket with malformed extensions', upgrade('/x', plus('Sec-WebSocket-Extensions: ;;='))],
    ['a good ticket without a key', upgrade(`/${ok}`, without('Sec-WebSocket-Key'))],
    ['a good ticket with a bad key', upgrade(`/${ok}`, swap('Sec-WebSocket-Key', 'Sec-WebSocket-Key: short'))],
    ['a good ticket with two keys', upgrade(`/${ok}`, plus(KEY))],
    ['a good ticket without a version', upgrade(`/${ok}`, without('Sec-WebSocket-Version'))],
    ['a good ticket with version 8', upgrade(`/${ok}`, swap('Sec-WebSocket-Version', 'Sec-WebSocket-Version: 8'))],
    ['a good ticket with version 99', upgrade(`/${ok}`, swap('Sec-WebSocket-Version', 'Sec-WebSocket-Version: 99'))],
    ['a good ticket with h2c', upgrade(`/${ok}`, swap('Upgrade', 'Upgrade: h2c'))],
    ['a good ticket with TLS/1.0', upgrade(`/${ok}`, swap('Upgrade', 'Upgrade: TLS/1.0'))],
    ['a good ticket in POST', upgrade(`/${ok}`).replace('GET', 'POST')],
    ['a good ticket in HTTP/1.0', upgrade(`/${ok}`).replace('HTTP/1.1', 'HTTP/1.0')],
    ['a good ticket with a body', `${upgrade(`/${ok}`, plus('Content-Length: 5'))}hello`],
    ['a good ticket with a chunked body', `${upgrade(`/${ok}`, plus('Transfer-Encoding: chunked'))}0\r\n\r\n`],
    ['a good ticket that expects 100-continue', upgrade('/x', plus('Expect: 100-continue'))],
    [
      'h2c as curl asks for it',
      head('GET / HTTP/1.1', [
        'Host: relay',
        'Connection: Upgrade, HTTP2-Settings',
        'Upgrade: h2c',
        'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA',
      ]),
    ],
  ];
}

// Concurrent: many wait until a server closes a connection that it keeps alive.
describe.concurrent.each(['http', 'https'] as const)('the decoy over %s', { timeout: 180_000 }, (scheme) => {
  const tls = scheme === 'https';
  const port = (): number => (tls ? tlsServer : server).addresses[0]!.port;
  const koaPort = (): number => ((tls ? tlsKoa : koa).address() as AddressInfo).port;

  /** @param requests names and bytes */
  async function expectAsKoa(requests: readonly (readonly [name: string, request: string])[]): Promise<void> {
    const ask = (of: number) => Promise.all(requests.map(([, request]) => saidBy(of, request, tls)));
    const [here, there] = await Promise.all([ask(port()), ask(koaPort())]);
    const named = (answers: typeof here) => requests.map(([name], at) => [name, answers[at]]);
    expect(named(here)).toEqual(named(there));
  }

  it('Koa answers an unknown page as this test expects', async () => {
    expect(await saidBy(koaPort(), LAST, tls)).toEqual({
      said: `HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\nDate: *\r\nConnection: close\r\n\r\nNot Found`,
      ends: true,
    });
  });

  it('the relay answers every probe as Koa does, and another request on the same connection, too', async () => {
    const list = probes(await usedTicket(port(), tls));
    expect(list.length).toBeGreaterThan(50);
    await expectAsKoa(list.map(([name, request]) => [name, request + LAST]));
  });

  it('the relay answers every probe as Koa does, twice on one connection', async () => {
    const list = probes(await usedTicket(port(), tls));
    await expectAsKoa(list.map(([name, request]) => [name, request.repeat(2) + LAST]));
  });

  it('the relay answers a valid ticket that makes no link as Koa does, with an ETag only the first time', {
    timeout: 180_000,
  }, async () => {
    const spoilt = (ticket: string): [string, string][] => [
      ['upgrade-dropped', head(`GET /${ticket} HTTP/1.1`, ['Host: relay'])],
      ['upgrade-dropped', head(`GET /${ticket} HTTP/1.0`, ['Connection: close'])],
      ['upgrade-dropped', upgrade(`/${ticket}`).replace('GET', 'POST')],
      ['upgrade-dropped', upgrade(`/${ticket}`).replace('GET', 'HEAD')],
      ['upgrade-dropped', `${upgrade(`/${ticket}`, plus('Content-Length: 5'))}hello`],
      ['upgrade-dropped', `${upgrade(`/${ticket}`, plus('Transfer-Encoding: chunked'))}0\r\n\r\n`],
      ['upgrade-dropped', upgrade(`/${ticket}`, plus('Sec-WebSocket-Protocol: chat'))],
      ['upgrade-dropped', upgrade(`/${ticket}`, swap('Upgrade', 'Upgrade: h2c'))],
      ['wrong-path', upgrade(`/${ticket}/`)],
      ['wrong-path', upgrade(`/${ticket}?a=b`)],
      ['clock-off', upgrade(`/${sealByWrongClock()}`)],
    ];
    const check = async (at: number): Promise<void> => {
      const ticket = seal();
      const [reason = '', request = ''] = spoilt(ticket)[at] ?? [];
      const [, sent = ''] = /\/([\w-]{168})/.exec(request) ?? [];
      const { said } = await saidBy(port(), request, tls);
      const [line = '', etag = ''] = /ETag: (.*)\r\n/.exec(said) ?? [];
      expect([request, sealer.refusalIn(etag, sent)?.reason]).toEqual([request, reason]);
      // Its connection ends, so that no front end sends the next request there.
      expect(said).toContain('\r\nConnection: close\r\n');
      const all = request.includes('Connection: close') ? request : request + LAST;
      const [plain, again] = await Promise.all([koaPort(), port()].map((of) => saidBy(of, all, tls)));
      expect(said.replace(line, '')).toBe(closing(plain?.said ?? ''));
      expect(again).toEqual(plain);
    };
    await Promise.all([...spoilt('').keys()].map(check));
  });

  it('the relay answers HEAD as Koa does', async () => {
    const requests = [
      head('HEAD /x HTTP/1.1', ['Host: relay']),
      upgrade(`/${strangerTicket()}`).replace('GET', 'HEAD'),
      upgrade('/x').replace('GET', 'HEAD'),
      head('HEAD /x HTTP/1.0', []),
    ];
    await expectAsKoa(requests.map((request) => [request, request + LAST]));
  });

  it('the relay answers a request without a host as Koa does', async () => {
    const requests = [
      head('GET /x HTTP/1.1', []),
      upgrade('/x', without('Host')),
      upgrade(`/${seal()}`, without('Host')),
      head('CONNECT target:443 HTTP/1.1', []),
    ];
    await expectAsKoa(requests.map((request) => [request, request]));
  });

  it('the relay answers what is not HTTP as Node does, with a valid ticket or without', async () => {
    const requests = [
      'hello\r\n\r\n',
      'GET /x HTTP/1.1\r\nHost: relay\r\nbad header\r\n\r\n',
      `GET /${seal()} HTTP/9.9\r\nHost: relay\r\n\r\n`,
      upgrade(`/${seal()}`, plus('bad header')),
      upgrade(`/${seal()}`, plus('Content-Length: 5', 'Transfer-Encoding: chunked')),
      `GET /${seal()} \r\n\r\n`,
      `${head('GET /x HTTP/1.1', ['Host: relay'])}garbage\r\n\r\n`,
    ];
    await expectAsKoa(requests.map((request) => [request, request]));
  });

  it('the relay answers a head that is too large as Node does, with a valid ticket or without', async () => {
    for (const bytes of [9_000, 17_000]) {
      const large = `X: ${'x'.repeat(bytes)}`;
      const requests = [upgrade(`/${strangerTicket()}`, plus(large)), head('GET /x HTTP/1.1', ['Host: relay', large])];
      await expectAsKoa(requests.map((request) => [request.slice(0, 60), request + LAST]));
    }
  });

  it('the relay answers an incomplete head as Node does', async () => {
    await expectAsKoa([['half a head', 'GET /x HTTP/1.1\r\nHost: rel']]);
  });

  it('the relay keeps a connection alive, and accepts an upgrade on it', async () => {
    const socket = openRaw(port(), tls);
    socket.write(head('GET /x HTTP/1.1', ['Host: relay']));
    expect(await readUntil(socket, '\r\n\r\nNot Found')).toContain('Connection: keep-alive');
    socket.write(upgrade(`/${seal()}`));
    expect(await readUntil(socket, '\r\n\r\n')).toMatch(/^HTTP\/1.1 101 /);
    socket.destroy();
  });

  it('the relay answers a request that comes byte by byte in the same way', async () => {
    for (const request of [upgrade(`/${strangerTicket()}`), head('GET /x HTTP/1.1', ['Host: relay'])]) {
      const socket = openRaw(port(), tls).setNoDelay(true);
      const answer = readUntil(socket, 'Not Found\r\nContent');
      for (const byte of request) {
        socket.write(byte);
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(withoutDate(await answer)).toContain('HTTP/1.1 404 Not Found');
      socket.destroy();
    }
  });

  it('the relay answers a request with a large body as Koa does, without a reset', async () => {
    const body = Buffer.alloc(1 << 20, 'x').toString('latin1');
    const requests = [
      head('POST /x HTTP/1.1', ['Host: relay', `Content-Length: ${body.length}`]) + body,
      upgrade('/x', plus(`Content-Length: ${body.length}`)).replace('GET', 'POST') + body,
    ];
    await expectAsKoa(requests.map((request) => [request.slice(0, 60), request + LAST]));
  });
});
