/**
 * Requests in which two readers could find different ends, and in them a second request. The target is node:http, which
 * reads by the letter: what it takes for a request is one.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Client } from '../support/net/tcp.ts';
import { prng } from '../support/prng.ts';
import { proxyTo } from '../support/proxy/proxy.ts';
import { until } from '../support/until.ts';

interface Target {
  readonly port: number;
  /** Method, path, Host and body of each request. */
  readonly seen: string[];
  /** What was no request. */
  readonly errors: string[];
}

/**
 * Methods and bytes in a URL that node:http does not know; and requests that were cut short, and did not look whole.
 */
const NO_FAULT: ReadonlySet<string> = new Set(['HPE_INVALID_METHOD', 'HPE_INVALID_URL', 'HPE_INVALID_EOF_STATE']);

async function target(): Promise<Target> {
  const seen: string[] = [];
  const errors: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('latin1').on('data', (text: string) => (body += text));
    request.on('end', () => {
      seen.push(`${request.method} ${request.url} ${request.headers.host} ${body}`);
      response.end('fine');
    });
    request.on('error', () => {});
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code?.startsWith('HPE_') && !NO_FAULT.has(error.code)) errors.push(error.code);
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close().closeAllConnections());
  return { port: (server.address() as AddressInfo).port, seen, errors };
}

const HIDDEN = 'GET http://h/hidden HTTP/1.1\r\nHost: h\r\n\r\n';
const LAST = 'GET http://h/last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n';

/** Its body, where it has one by a length, is the hidden request. */
const post = (...lines: string[]) => `${['POST http://h/first HTTP/1.1', 'Host: h', ...lines].join('\r\n')}\r\n\r\n`;
const LENGTH = `Content-Length: ${HIDDEN.length}`;
const CHUNKED = 'Transfer-Encoding: chunked';
/** The whole of it is one chunk. */
const IN_CHUNK = `${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`;
const EMPTY_CHUNKS = `0\r\n\r\n${HIDDEN}`;

const REFUSED: readonly (readonly [string, string])[] = [
  ['a length and chunks', post(LENGTH, CHUNKED) + EMPTY_CHUNKS],
  ['chunks and a length', post(CHUNKED, LENGTH) + EMPTY_CHUNKS],
  ['a length and no coding', post(LENGTH, 'Transfer-Encoding: identity') + HIDDEN],
  ['a length and an unknown coding', post(LENGTH, 'Transfer-Encoding: x') + HIDDEN],
  ['a length and an empty coding', post(LENGTH, 'Transfer-Encoding:') + HIDDEN],
  ['two lengths', post('Content-Length: 0', LENGTH) + HIDDEN],
  ['two lengths, the other way round', post(LENGTH, 'Content-Length: 0') + HIDDEN],
  ['the same length twice', post(LENGTH, LENGTH) + HIDDEN],
  ['a list of lengths', post(`Content-Length: 0, ${HIDDEN.length}`) + HIDDEN],
  ['a signed length', post(`Content-Length: +${HIDDEN.length}`) + HIDDEN],
  ['a negative length', post('Content-Length: -1') + HIDDEN],
  ['a hexadecimal length', post(`Content-Length: 0x${HIDDEN.length.toString(16)}`) + HIDDEN],
  ['a length with a blank in it', post('Content-Length: 0 0') + HIDDEN],
  ['an empty length', post('Content-Length:') + HIDDEN],
  ['a length in quotes', post(`Content-Length: "${HIDDEN.length}"`) + HIDDEN],
  ['a length beyond counting', post('Content-Length: 18446744073709551616') + HIDDEN],
  ['a length with a point', post(`Content-Length: ${HIDDEN.length}.0`) + HIDDEN],
  ['a length with an exponent', post('Content-Length: 1e1') + HIDDEN],
  ['a blank before the colon of a length', post(`Content-Length : ${HIDDEN.length}`) + HIDDEN],
  ['a tab before the colon of a coding', post('Transfer-Encoding\t: chunked') + EMPTY_CHUNKS],
  ['a blank before a name', post('X: y', ` ${CHUNKED}`) + EMPTY_CHUNKS],
  ['a folded coding', post('Transfer-Encoding:', ' chunked') + EMPTY_CHUNKS],
  ['a folded length', post('Content-Length:', ` ${HIDDEN.length}`) + HIDDEN],
  ['two codings', post(CHUNKED, 'Transfer-Encoding: identity') + EMPTY_CHUNKS],
  ['chunked twice', post(CHUNKED, CHUNKED) + EMPTY_CHUNKS],
  ['chunked and another', post('Transfer-Encoding: chunked, gzip') + EMPTY_CHUNKS],
  ['another and chunked', post('Transfer-Encoding: gzip, chunked') + EMPTY_CHUNKS],
  ['a list with an empty element', post('Transfer-Encoding: ,chunked') + EMPTY_CHUNKS],
  ['chunked in quotes', post('Transfer-Encoding: "chunked"') + EMPTY_CHUNKS],
  ['chunked with a parameter', post('Transfer-Encoding: chunked;x=y') + EMPTY_CHUNKS],
  ['chunked behind a vertical tab', post('Transfer-Encoding: \x0bchunked') + EMPTY_CHUNKS],
  ['chunked behind a byte of A0', post('Transfer-Encoding: \xa0chunked') + EMPTY_CHUNKS],
  ['chunked with a letter that lower case makes of another', post('Transfer-Encoding: chun\xcbed') + EMPTY_CHUNKS],
  ['a name with a control byte', post('Transfer-Encoding\x0b: chunked') + EMPTY_CHUNKS],
  ['a name with a NUL', post('Transfer-Encoding\0: chunked') + EMPTY_CHUNKS],
  ['a line without a colon', post('Transfer-Encoding chunked') + EMPTY_CHUNKS],
  ['a line without a name', post(': x') + HIDDEN],
  ['an LF in a value', post(`X: y\n${CHUNKED}`) + EMPTY_CHUNKS],
  ['an empty line of LFs in a value', post(`X: y\n\n${HIDDEN.trimEnd()}`)],
  ['a CR in a value', post(`X: y\r${CHUNKED}`) + EMPTY_CHUNKS],
  ['a CR before the end of a line', post(`${LENGTH}\r`) + HIDDEN],
  ['a NUL in a value', post(`X: y\0${CHUNKED}`) + HIDDEN],
  ['an empty line of two CRs', `${post('X: y').slice(0, -2)}\r\r\n${HIDDEN}`],
  ['two Hosts', post('Host: other')],
  ['no Host', `GET http://h/ HTTP/1.1\r\n\r\n`],
  ['a blank in its URL', 'GET http://h/a HTTP/1.1\r\nX: http://h/ HTTP/1.1\r\nHost: h\r\n\r\n'.replace('/a', '/a /b')],
  ['a tab in its URL', 'GET http://h/a\tb HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a CR in its first line', 'GET http://h/a\rX HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['another version', 'GET http://h/ HTTP/2.0\r\nHost: h\r\n\r\n'],
  ['no version', 'GET http://h/\r\nHost: h\r\n\r\n'],
  ['a WebSocket with a body', post('Connection: upgrade', 'Upgrade: websocket', LENGTH) + HIDDEN],
];

/** What the target gets is the first request, the hidden one in its body where it has one, and the last. */
const FRAMED_ANEW: readonly (readonly [string, string, string])[] = [
  ['a length', post(LENGTH) + HIDDEN, HIDDEN],
  ['chunks', post(CHUNKED) + IN_CHUNK, HIDDEN],
  ['chunks with tabs around them', post('Transfer-Encoding:\tchunked\t') + IN_CHUNK, HIDDEN],
  ['chunks in upper case', post('TRANSFER-ENCODING: CHUNKED') + IN_CHUNK, HIDDEN],
  ['a length that Connection would hide', post('Connection: content-length', LENGTH) + HIDDEN, HIDDEN],
  ['a coding that Connection would hide', post('Connection: transfer-encoding', CHUNKED) + IN_CHUNK, HIDDEN],
  ['a Host that Connection would hide', post('Connection: host', LENGTH) + HIDDEN, HIDDEN],
  ['another Host', post(LENGTH).replace('Host: h', 'Host: other') + HIDDEN, HIDDEN],
  ['user information', post(LENGTH).replace('http://h', 'http://other@h') + HIDDEN, HIDDEN],
  ['names with an underscore', post('Transfer_Encoding: chunked', 'Content_Length: 3', LENGTH) + HIDDEN, HIDDEN],
  ['a body by GET', post(LENGTH).replace('POST', 'GET') + HIDDEN, HIDDEN],
  ['a body by a method nobody knows', post(CHUNKED).replace('POST', 'SEARCH') + IN_CHUNK, HIDDEN],
  [
    'a wish for h2c, and a body',
    post('Connection: upgrade, http2-settings', 'Upgrade: h2c', 'HTTP2-Settings: x', LENGTH) + HIDDEN,
    HIDDEN,
  ],
  ['a wish for h2c, and chunks', post('Connection: upgrade', 'Upgrade: h2c', CHUNKED) + IN_CHUNK, HIDDEN],
  [
    'extensions and trailers',
    `${post(CHUNKED)}1;x="\\y"\r\na\r\n0;z\r\nContent-Length: 50\r\nHost: other\r\n\r\n`,
    'a',
  ],
  ['lines that end with LF', post('X: y', LENGTH).replaceAll('\r\n', '\n') + HIDDEN, HIDDEN],
  ['an empty line before it', `\r\n${post(LENGTH)}${HIDDEN}`, HIDDEN],
];

/** These break within their body: the target gets no whole request. */
const BROKEN: readonly (readonly [string, string])[] = [
  ['an LF behind a size', `${post(CHUNKED)}1\na\r\n0\r\n\r\n`],
  ['an LF in an extension', `${post(CHUNKED)}1;\n${HIDDEN}`],
  ['a CR in an extension', `${post(CHUNKED)}1;\rx\r\na\r\n0\r\n\r\n`],
  ['an LF behind a chunk', `${post(CHUNKED)}1\r\na\n0\r\n\r\n${HIDDEN}`],
  ['a chunk longer than its size', `${post(CHUNKED)}1\r\nab\r\n0\r\n\r\n${HIDDEN}`],
  ['a negative size', `${post(CHUNKED)}-1\r\n${HIDDEN}`],
  ['a size in another notation', `${post(CHUNKED)}0x1\r\na\r\n0\r\n\r\n`],
  ['a size with a blank before it', `${post(CHUNKED)} 1\r\na\r\n0\r\n\r\n`],
  ['a size beyond counting', `${post(CHUNKED)}10000000000000001\r\na\r\n0\r\n\r\n`],
  ['a blank size', `${post(CHUNKED)}\r\n${HIDDEN}`],
  ['LFs at the end', `${post(CHUNKED)}0\n\n${HIDDEN}`],
  ['an LF behind the trailers', `${post(CHUNKED)}0\r\nX: y\n\r\n${HIDDEN}`],
  ['a NUL in a trailer', `${post(CHUNKED)}0\r\nX: \0\r\n\r\n${HIDDEN}`],
];

describe('a request that can be read in two ways', () => {
  it.each(REFUSED)('an ambiguous request is refused, and its connection closed: %s', async (_, text) => {
    const { port, seen } = await target();
    const { port: proxy } = await proxyTo(port);
    const client = new Client(proxy).send(text + LAST);
    await until(() => client.received.includes('\r\n\r\n'));
    expect(await client.rest()).toMatch(/^HTTP\/1\.1 [45]\d\d /);
    const second = client.received
      .toString('latin1')
      .slice(1)
      .search(/^HTTP\/1\.1 \d/m);
    // Where Host or the URL alone is at fault, it is clear where the next request begins.
    if (second >= 0) expect(seen).toEqual(['GET /last h ']);
    else expect(seen).toEqual([]);
  });

  it.each(FRAMED_ANEW)(
    'the proxy reads an unusual request in one way, and forwards it in one: %s',
    async (_, text, body) => {
      const { port, seen, errors } = await target();
      const { port: proxy } = await proxyTo(port);
      await new Client(proxy).send(text + LAST).rest();
      const method = /^(?:\r\n)?([A-Z]+)/.exec(text)?.[1];
      expect(seen).toEqual([`${method} /first h ${body}`, 'GET /last h ']);
      expect(errors).toEqual([]);
    },
  );

  it.each(BROKEN)('a request with a broken body never looks complete: %s', async (_, text) => {
    const { port, seen } = await target();
    const { port: proxy, opener } = await proxyTo(port);
    const client = new Client(proxy).send(text + LAST);
    expect(await client.rest()).toMatch(/^(?:HTTP\/1\.1 400 .*Connection: close\r\n.*)?$/s);
    await until(() => opener.streams.every((stream) => stream.destroyed));
    expect(seen).toEqual([]);
  });

  it.each([
    ['no chunks', EMPTY_CHUNKS, ''],
    ['a chunk', IN_CHUNK + HIDDEN, HIDDEN],
  ])('a request is the last on its connection: HTTP/1.0 with %s', async (_, content, body) => {
    const { port, seen } = await target();
    const { port: proxy } = await proxyTo(port);
    const head = post(CHUNKED, 'Connection: keep-alive').replace('HTTP/1.1', 'HTTP/1.0');
    expect(await new Client(proxy).send(head + content + LAST).rest()).toMatch(
      /^HTTP\/1\.1 200 .*Connection: close\r\n/s,
    );
    expect(seen).toEqual([`POST /first h ${body}`]);
  });

  it('a request and CONNECT after it are served one after the other', async () => {
    const { port, seen } = await target();
    const { port: proxy } = await proxyTo(port);
    const tunnelled = 'GET /inside HTTP/1.1\r\nHost: i\r\nConnection: close\r\n\r\n';
    const client = new Client(proxy).send(`${post(LENGTH)}${HIDDEN}CONNECT h:80 HTTP/1.1\r\n\r\n${tunnelled}`);
    await client.takeUntil('established\r\n\r\n');
    await client.rest();
    expect(seen).toEqual([`POST /first h ${HIDDEN}`, 'GET /inside i ']);
  });
});

describe('300 streams of requests with random faults', () => {
  const PARTS = [
    ...[
      '\r\n',
      '\n',
      '\r',
      ' ',
      '\t',
      '\0',
      ':',
      ',',
      ';',
      '0',
      '1',
      '5',
      'chunked',
      'identity',
      'Transfer-Encoding: chunked\r\n',
    ],
    ...[
      'Content-Length: 5\r\n',
      'Content-Length: 0\r\n',
      'Host: h\r\n',
      'X: ',
      '0\r\n\r\n',
      '5\r\nhello\r\n',
      '\xa0',
      'HTTP/1.1',
      'GET ',
    ],
  ];

  /** One to three things put in, taken out or doubled. */
  function mutate(text: string, random: ReturnType<typeof prng>): string {
    let mutated = text;
    for (let i = 1 + random.below(3); i > 0; i--) {
      const at = random.below(mutated.length + 1);
      const until = at + random.below(6);
      const middle = random.pick([random.pick(PARTS), '', mutated.slice(at, until).repeat(2)]);
      mutated = mutated.slice(0, at) + middle + mutated.slice(random.chance(0.5) ? at : until);
    }
    return mutated;
  }

  it('300 streams of requests with random faults reach the target as correct requests, one for each response', async () => {
    const random = prng(12);
    const { port, seen, errors } = await target();
    const { port: proxy, opener } = await proxyTo(port, {
      limits: { negotiationMs: 300, keepAliveMs: 300, lingerMs: 300 },
    });
    let answered = 0;
    for (let i = 0; i < 300; i++) {
      const first = random.pick([
        `${post('Content-Length: 5')}hello`,
        `${post(CHUNKED)}5\r\nhello\r\n0\r\n\r\n`,
        'GET http://h/first HTTP/1.1\r\nHost: h\r\n\r\n',
      ]);
      const client = new Client(proxy);
      client.socket.end(Buffer.from(mutate(first, random) + LAST, 'latin1'));
      const answer = await client.rest();
      const before = seen.length;
      await until(() => opener.streams.every((stream) => stream.destroyed));
      expect(seen.length).toBe(before);
      answered += answer.match(/HTTP\/1\.1 200 OK/g)?.length ?? 0;
      expect({ i, errors, answered }).toEqual({ i, errors: [], answered: seen.length });
    }
    for (const request of seen) expect(request).toMatch(/^[!-~]+ \S+ [^ ]* /);
    expect(answered).toBeGreaterThan(100);
  }, 180_000);
});
