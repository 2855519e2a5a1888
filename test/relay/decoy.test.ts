import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketOpener, TicketSealer } from '../../src/crypto/ticket.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { type RelayServer, startRelayServer } from '../../src/relay/relay-server.ts';
import { makeCertificate } from '../support/certificate.ts';
import { openRaw, rawExchange, readUntil, withoutDate } from '../support/raw-http.ts';

const relay = createIdentity();
const alice = createIdentity();
const sealer = new TicketSealer(alice, relay.public.gate);
const seal = (now = Date.now()): string =>
  sealer.seal({ role: 'client', destination: '', protocol: 1, features: 0 }, now);

const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
const UPGRADE = ['Host: relay', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', KEY];

const PAGE_HEAD =
  'HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\nDate: *\r\nConnection: close\r\n\r\n';
const PAGE = `${PAGE_HEAD}Not Found`;

let server: RelayServer;
let tlsServer: RelayServer;
let links = 0;

async function start(tls?: { cert: string; key: string }): Promise<RelayServer> {
  const tickets = new TicketOpener(relay);
  tickets.setBearers([{ name: 'alice', gateKey: alice.public.gate, role: 'client', destination: '' }]);
  return await startRelayServer({
    listen: [{ host: '127.0.0.1', port: 0 }],
    ...(tls === undefined ? {} : { tls }),
    tickets,
    onLink: (link) => {
      links++;
      link.setHandler({ handleMessage: () => {}, handleDrain: () => {}, handleClose: () => {} });
    },
    logger: silentLogger,
    // Room for many probes at once.
    limits: { requestMs: 3000 },
  });
}

beforeAll(async () => {
  server = await start();
  tlsServer = await start(makeCertificate());
});

afterAll(() => {
  server.close();
  tlsServer.close();
});

function head(line: string, headers: readonly string[]): string {
  return `${[line, ...headers].join('\r\n')}\r\n\r\n`;
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

describe.each(['http', 'https'] as const)('over %s', (scheme) => {
  const tls = scheme === 'https';
  const port = (): number => (tls ? tlsServer : server).addresses[0]!.port;

  it('every probe gets the bytes of an unknown page, and the same end', async () => {
    const before = links;
    const list = probes(await usedTicket(port(), tls));
    expect(list.length).toBeGreaterThan(50);
    const answers = await Promise.all(list.map(([, request]) => rawExchange(port(), request, { tls })));
    const seen = list.map(([name], at) => [name, withoutDate(answers[at]!.bytes), answers[at]!.end]);
    expect(seen).toEqual(list.map(([name]) => [name, PAGE, 'fin']));
    expect(links - before).toBe(1);
  });

  it('a bearer whose good ticket makes no link gets those bytes and an ETag, the first time, and nobody else ever', async () => {
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
      ['clock-off', upgrade(`/${seal(Date.now() - 125_000)}`)],
    ];
    for (const at of spoilt('').keys()) {
      const ticket = seal();
      const [reason = '', request = ''] = spoilt(ticket)[at] ?? [];
      const [, sent = ''] = /\/([\w-]{168})/.exec(request) ?? [];
      const { bytes, end } = await rawExchange(port(), request, { tls });
      const [line = '', etag = ''] = /ETag: (.*)\r\n/.exec(bytes) ?? [];
      expect([request, sealer.refusalIn(etag, sent)?.reason, end]).toEqual([request, reason, 'fin']);
      const page = request.startsWith('HEAD') ? PAGE_HEAD : PAGE;
      expect(withoutDate(bytes.replace(line, ''))).toBe(page);
      expect(withoutDate((await rawExchange(port(), request, { tls })).bytes)).toBe(page);
    }
  });

  it('every probe with HEAD gets the head of an unknown page alone', async () => {
    for (const request of [
      head('HEAD /x HTTP/1.1', ['Host: relay']),
      upgrade(`/${strangerTicket()}`).replace('GET', 'HEAD'),
      upgrade('/x').replace('GET', 'HEAD'),
      head('HEAD /x HTTP/1.0', []),
    ]) {
      const { bytes, end } = await rawExchange(port(), request, { tls });
      expect([withoutDate(bytes), end]).toEqual([PAGE_HEAD, 'fin']);
    }
  });

  it('every request without a host is called bad in the same way', async () => {
    for (const request of [
      head('GET /x HTTP/1.1', []),
      upgrade('/x', without('Host')),
      upgrade(`/${seal()}`, without('Host')),
      head('CONNECT target:443 HTTP/1.1', []),
    ]) {
      const { bytes, end } = await rawExchange(port(), request, { tls });
      expect([bytes, end]).toEqual(['HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n', 'fin']);
    }
  });

  it('what is no HTTP is called bad in the same way, with a good ticket or without', async () => {
    for (const request of [
      'hello\r\n\r\n',
      'GET /x HTTP/1.1\r\nHost: relay\r\nbad header\r\n\r\n',
      `GET /${seal()} HTTP/9.9\r\nHost: relay\r\n\r\n`,
      upgrade(`/${seal()}`, plus('bad header')),
      upgrade(`/${seal()}`, plus('Content-Length: 5', 'Transfer-Encoding: chunked')),
      `GET /${seal()} \r\n\r\n`,
    ]) {
      const { bytes, end } = await rawExchange(port(), request, { tls });
      expect([request, bytes, end]).toEqual([request, 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n', 'fin']);
    }
  });

  it('headers beyond 8 KiB are too large in the same way, with a good ticket or without', async () => {
    const large = `X: ${'x'.repeat(9000)}`;
    for (const request of [upgrade(`/${seal()}`, plus(large)), head('GET /x HTTP/1.1', ['Host: relay', large])]) {
      const { bytes } = await rawExchange(port(), request, { tls });
      expect(bytes).toBe('HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n');
    }
  });

  it('a request that comes byte by byte gets the same answer', async () => {
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

  it('a large body does not lose the answer to a reset', async () => {
    const body = Buffer.alloc(1 << 20, 'x').toString('latin1');
    for (const request of [
      head('POST /x HTTP/1.1', ['Host: relay', `Content-Length: ${body.length}`]) + body,
      upgrade('/x').replace('GET', 'POST') + body,
    ]) {
      const { bytes, end } = await rawExchange(port(), request, { tls });
      expect([withoutDate(bytes), end]).toEqual([PAGE, 'fin']);
    }
  });
});
