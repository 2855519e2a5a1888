/**
 * Answers as real servers give them, byte by byte, and what of a request real programs send that no grammar foresees.
 */
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { Client, tcpServer } from '../support/net/tcp.ts';
import { proxyTo } from '../support/proxy/proxy.ts';
import { until } from '../support/until.ts';

const B = 'hello body\n';
const CL = 'Content-Length: 11\r\n';
const OK = 'HTTP/1.1 200 OK\r\n';
const TE = 'Transfer-Encoding: chunked\r\n';
const CHUNKS = `b\r\n${B}\r\n0\r\n\r\n`;

/**
 * A target that gives its answers to one request after another, and ends its side behind the last of a connection, if
 * any.
 */
async function answering(
  ...answers: (string | { readonly last: string })[]
): Promise<{ port: number; heard: string[] }> {
  const heard: string[] = [];
  const left = [...answers];
  const port = await tcpServer((socket) =>
    socket.on('data', (chunk) => {
      heard.push(chunk.toString('latin1'));
      const answer = left.shift() ?? '';
      if (typeof answer === 'string') socket.write(answer, 'latin1');
      else socket.end(answer.last, 'latin1');
    }),
  );
  return { port, heard };
}

const get = (path = '/', version = '1.1', ...headers: string[]) =>
  `${[`GET http://h${path} HTTP/${version}`, 'Host: h', ...headers].join('\r\n')}\r\n\r\n`;

/** Head and content of an answer that ends with the connection, or is in one chunk. */
function parts(text: string): { head: string; body: string } {
  const at = text.indexOf('\r\n\r\n') + 4;
  const [head, body] = [text.slice(0, at), text.slice(at)];
  if (!/^transfer-encoding: chunked\r$/im.test(head)) return { head, body };
  const [, size = '', chunk = ''] = /^([0-9a-f]+)\r\n(.*)\r\n0\r\n\r\n$/s.exec(body) ?? [];
  return { head, body: chunk.length === Number.parseInt(size, 16) ? chunk : `not one chunk: ${body}` };
}

describe('a response that does not follow the RFC', () => {
  it.each([
    ['lines that end with LF', `HTTP/1.1 200 OK\nContent-Length: 11\n\n${B}`],
    ['an LF among CRLFs', `${OK}X: y\n${CL}\r\n${B}`],
    ['a length and chunks', `${OK + CL + TE}\r\n${CHUNKS}`],
    ['chunks and a length that is wrong', `${OK}Content-Length: 3\r\n${TE}\r\n${CHUNKS}`],
    ['identity and a length', `${OK}Transfer-Encoding: identity\r\n${CL}\r\n${B}`],
    ['identity alone', `${OK}Transfer-Encoding: identity\r\n\r\n${B}`],
    ['a length twice', `${OK + CL + CL}\r\n${B}`],
    ['a length twice in a list', `${OK}Content-Length: 11, 11\r\n\r\n${B}`],
    ['a blank before a colon', `${OK}X-A : b\r\nContent-Length : 11\r\n\r\n${B}`],
    ['a blank in a name', `${OK}X A: b\r\n${CL}\r\n${B}`],
    ['a folded line', `${OK}X-A: b\r\n c\r\n${CL}\r\n${B}`],
    ['a folded length', `${OK}Content-Length:\r\n\t11\r\n\r\n${B}`],
    ['a folded line before all', `${OK} X: y\r\n${CL}\r\n${B}`],
    ['a control byte', `${OK}X: b\x01\x7f\r\n${CL}\r\n${B}`],
    ['a lone CR', `${OK}X: b\rc\r\n${CL}\r\n${B}`],
    ['a NUL', `${OK}X: b\0c\r\n${CL}\r\n${B}`],
    ['a version in lower case', `http/1.1 200 OK\r\n${CL}\r\n${B}`],
    ['a version without a minor', `HTTP/2 200\r\n${CL}\r\n${B}`],
    ['no reason', `HTTP/1.1 200\r\n${CL}\r\n${B}`],
    ['two blanks in its first line', `HTTP/1.1  200 OK\r\n${CL}\r\n${B}`],
    ['a name in quotes', `${OK}"X": b\r\n${CL}\r\n${B}`],
    ['no name', `${OK}: b\r\n${CL}\r\n${B}`],
    ['no colon', `${OK}rubbish\r\n${CL}\r\n${B}`],
    ['a line of blanks', `${OK}X: y\r\n  \r\n${CL}\r\n${B}`],
    ['SHOUTcast’s first line', `ICY 200 OK\r\nicy-name: x\r\n\r\n${B}`],
    ['an empty line before it', `\r\n${OK}${CL}\r\n${B}`],
    ['blanks around the size of a chunk', `${OK}${TE}\r\n b \r\n${B}\r\n0\r\n\r\n`],
    ['LFs between its chunks', `${OK}${TE}\r\nb\n${B}\n0\n\n`],
    ['zeros before the size of a chunk', `${OK}${TE}\r\n000000000000000000b\r\n${B}\r\n0\r\n\r\n`],
    ['nothing behind its last chunk', `${OK}${TE}\r\nb\r\n${B}\r\n0\r\n`],
    ['chunked twice', `${OK + TE + TE}\r\n${CHUNKS}`],
    ['chunks in HTTP/1.0', `HTTP/1.0 200 OK\r\n${TE}\r\n${CHUNKS}`],
    ['more than its length says', `${OK}${CL}\r\n${B}and more`],
  ])('the proxy reads a response with errors, and forwards it correctly: %s', async (_, answer) => {
    for (const version of ['1.1', '1.0']) {
      const { port: target } = await answering({ last: answer });
      const { port } = await proxyTo(target);
      const text = await new Client(port).send(get('/', version, 'Connection: close')).rest();
      const { head, body } = parts(text);
      expect(head).toMatch(/^HTTP\/1\.1 200 [^\r\n]*\r\n(?:[^\r\n: ][^\r\n:]*: [^\r\n\0]*\r\n)*\r\n$/);
      expect(head.match(/^(?:Content-Length|Transfer-Encoding):/gim)?.length ?? 0).toBeLessThanOrEqual(1);
      expect(head).not.toMatch(version === '1.0' ? /transfer-encoding/i : /^$/);
      expect(body).toBe(B);
    }
  });

  it('the proxy writes framing before other headers, which a program may lose after a malformed name', async () => {
    for (const [own, framing] of [
      [CL, 'Content-Length: 11'],
      [TE, 'Transfer-Encoding: chunked'],
    ] as const) {
      const { port: target } = await answering(`${OK}${own}X A: b\r\n\r\n${own === CL ? B : CHUNKS}`);
      const { port } = await proxyTo(target);
      const lines = (await new Client(port).send(get()).takeUntil('\r\n\r\n')).split('\r\n');
      expect(lines.slice(0, 4)).toEqual(['HTTP/1.1 200 OK', framing, 'Connection: keep-alive', 'X A: b']);
    }
  });

  it('a response with errors is the last on its stream, so that no later request gets a rest of it', async () => {
    const stray = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray';
    for (const odd of [
      `${OK + CL + TE}\r\n${CHUNKS}`,
      `${OK + CL + CL}\r\n${B}`,
      `${OK}${CL}\r\n${B}${stray}`,
      `HTTP/1.1 204 N\r\n${CL}\r\n${B}`,
      `HTTP/1.1 304 N\r\n${CL}\r\n${B}${stray}`,
      `${OK}${TE}\r\nb\n${B}\n0\n\n`,
    ]) {
      const { port: target, heard } = await answering(odd, `${OK}Content-Length: 4\r\n\r\nnext`);
      const { port, opener } = await proxyTo(target);
      const client = new Client(port).send(get('/first'));
      await until(() => heard.length === 1 && opener.streams[0]?.destroyed === true);
      await client.send(get('/second')).takeUntil('\r\n\r\nnext');
      expect(client.received.length).toBe(0);
      expect(opener.streams.length).toBe(2);
    }
  });

  it('a body sent in response to HEAD reaches neither it nor the next request', async () => {
    const { port: target } = await answering(`${OK}${CL}\r\n${B}`, `${OK}Content-Length: 4\r\n\r\nnext`);
    const { port, opener } = await proxyTo(target);
    const client = new Client(port).send(get().replace('GET', 'HEAD'));
    expect(await client.takeUntil('\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 .*Content-Length: 11\r\n/s);
    await until(() => opener.streams[0]?.destroyed === true);
    expect(client.received.length).toBe(0);
    expect(await client.send(get()).takeUntil('next')).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('a response that comes unasked on an idle stream does not answer the next request', async () => {
    let say = (_: string) => {};
    const target = await tcpServer((socket) => {
      say = (text) => socket.write(text);
      socket.once('data', () => say(`${OK}Content-Length: 5\r\n\r\nfirst`));
    });
    const { port, opener } = await proxyTo(target);
    const client = new Client(port).send(get());
    await client.takeUntil('first');
    say('HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n');
    await until(() => opener.streams[0]?.destroyed === true);
    await client.send(get()).takeUntil('first');
  });
});

describe('a broken response', () => {
  const cases: [string, string][] = [
    ['a chunk size that is none', `${OK}${TE}\r\nzz\r\nbroken\r\n`],
    ['chunks that end early', `${OK}${TE}\r\n5\r\nhel`],
    ['a chunk size with rubbish behind it', `${OK}${TE}\r\n5 x\r\nhello\r\n0\r\n\r\n`],
    ['no last chunk', `${OK}${TE}\r\n5\r\nhello\r\n`],
    ['a length that is not reached', `${OK}Content-Length: 100\r\n\r\nhello`],
    ['a length of which nothing comes', `${OK}Content-Length: 100\r\n\r\n`],
    ['a chunk line without an end', `${OK}${TE}\r\n${'1'.repeat(5000)}`],
  ];

  it.each(cases)('a response that breaks after its header ends in a reset, after what came: %s', async (_, answer) => {
    for (const pauseMs of [0, 30]) {
      const target = await tcpServer((socket) =>
        socket.once('data', () => {
          const at = pauseMs === 0 ? answer.length : answer.indexOf('\r\n\r\n') + 4;
          socket.write(answer.slice(0, at));
          setTimeout(() => socket.end(answer.slice(at)), pauseMs);
        }),
      );
      const { port } = await proxyTo(target);
      const client = new Client(port).send(get());
      expect(await client.takeUntil('\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(await client.ending()).toBe('reset');
      if (answer.includes('hello') && !answer.includes('5 x')) expect(client.received.toString()).toContain('hello');
    }
  });

  it.each([
    ['with a length', `${OK}${CL}\r\n${B}`],
    ['in chunks', `${OK + TE}\r\n${CHUNKS}`],
    ['that refuses an upload', `HTTP/1.1 413 Too Large\r\n${CL}Connection: close\r\n\r\n${B}`],
  ])('a response is complete if it breaks only after its end: %s, then a reset', async (_, answer) => {
    const reset = (socket: Socket) => socket.once('data', () => socket.write(answer, () => socket.resetAndDestroy()));
    const { port } = await proxyTo(await tcpServer(reset));
    for (let i = 0; i < 20; i++) {
      const client = new Client(port).send(
        get().replace('GET', 'POST').replace('\r\n\r\n', '\r\nContent-Length: 99999\r\n\r\nx'),
      );
      await client.takeUntil(B);
      client.socket.destroy();
    }
  });
});

describe('interim responses', () => {
  const HINTS = 'HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n';
  const WORKING = 'HTTP/1.1 102 Processing\r\n\r\n';
  const FINAL = `${OK}${CL}\r\n${B}`;

  it('interim responses are forwarded at once and in order', async () => {
    let finish = () => {};
    const target = await tcpServer((socket) =>
      socket.once('data', () => {
        finish = () => socket.write(WORKING + WORKING + FINAL);
        socket.write(HINTS);
      }),
    );
    const { port } = await proxyTo(target);
    const client = new Client(port).send(get());
    expect(await client.takeUntil('\r\n\r\n')).toBe(HINTS);
    finish();
    expect(await client.takeUntil('\r\n\r\n')).toBe(WORKING);
    expect(await client.takeUntil('\r\n\r\n')).toBe(WORKING);
    expect(await client.takeUntil(B)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });

  it('interim responses never reach a program that speaks HTTP/1.0', async () => {
    const { port: target, heard } = await answering({ last: `HTTP/1.1 100 Continue\r\n\r\n${HINTS}${FINAL}` });
    const { port } = await proxyTo(target);
    const post = get('/', '1.0', 'Expect: 100-continue', 'Content-Length: 1').replace('GET', 'POST');
    expect(await new Client(port).send(`${post}x`).rest()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(heard.join('')).not.toMatch(/expect/i);
  });

  it('interim responses are forwarded before a switch of protocols', async () => {
    const { port: target } = await answering(
      `${HINTS}HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello`,
    );
    const { port } = await proxyTo(target);
    const client = new Client(port).send(get('/', '1.1', 'Connection: upgrade', 'Upgrade: x'));
    expect(await client.takeUntil('\r\n\r\n')).toBe(HINTS);
    expect(await client.takeUntil('hello')).toMatch(/^HTTP\/1\.1 101 S\r\nUpgrade: x\r\n/);
  });

  it('endless interim responses are an error', async () => {
    const { port: target } = await answering(WORKING.repeat(1001));
    const { port } = await proxyTo(target);
    const client = new Client(port).send(get());
    expect(await client.takeUntil('WSTUN-E507')).toMatch(/HTTP\/1\.1 502 /);
  });
});

describe('bytes of 80 to FF', () => {
  const high = Buffer.from(Array.from({ length: 128 }, (_, i) => 0x80 + i)).toString('latin1');

  it('bytes of 80 to FF in URL, header and reason are forwarded unchanged, both ways', async () => {
    const { port: target, heard } = await answering(
      `HTTP/1.1 200 ${high}\r\nLocation: /caf\xc3\xa9?x=\xe9\r\nX-${high}: 1\r\nX: ${high}\r\n${CL}\r\n${B}`,
    );
    const { port } = await proxyTo(target);
    const client = new Client(port).send(get(`/${high}?q=\xc3\xbc`, '1.1', `X: ${high}`));
    const head = await client.takeUntil('\r\n\r\n');
    expect(head.split('\r\n').filter((line) => /^(?:HTTP|Location|X)/.test(line))).toEqual([
      `HTTP/1.1 200 ${high}`,
      'Location: /caf\xc3\xa9?x=\xe9',
      `X-${high}: 1`,
      `X: ${high}`,
    ]);
    expect(heard[0]).toContain(`GET /${high}?q=\xc3\xbc HTTP/1.1\r\n`);
    expect(heard[0]).toContain(`\r\nX: ${high}\r\n`);
  });

  it('bytes of 80 to FF are also forwarded unchanged in interim responses and in a switch of protocols', async () => {
    const { port: target, heard } = await answering(
      `HTTP/1.1 103 ${high}\r\nX: ${high}\r\n\r\nHTTP/1.1 101 ${high}\r\nX: ${high}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n${high}`,
    );
    const { port } = await proxyTo(target);
    const client = new Client(port).send(get('/', '1.1', `X: ${high}`, 'Connection: upgrade', 'Upgrade: x'));
    for (const status of [103, 101]) {
      expect(await client.takeUntil('\r\n\r\n')).toContain(`HTTP/1.1 ${status} ${high}\r\nX: ${high}\r\n`);
    }
    expect((await client.take(128)).toString('latin1')).toBe(high);
    expect(heard[0]).toContain(`\r\nX: ${high}\r\n`);
  });
});

describe('a request', () => {
  it.each([
    'LIST',
    'BITS_POST',
    'CCM_POST',
    'VERSION-CONTROL',
    'BASELINE-CONTROL',
    'LABEL',
    'BAN',
    'RPC_IN_DATA',
    'FOO',
    'get',
    '!',
  ])('the proxy forwards a request with the method %s', async (method) => {
    const { port: target, heard } = await answering(`${OK}${CL}\r\n${B}`);
    const { port } = await proxyTo(target);
    const client = new Client(port).send(get('/x').replace('GET', method));
    expect(await client.takeUntil(B)).toMatch(/^HTTP\/1\.1 200 /);
    expect(heard[0]).toMatch(/^\S+ \/x HTTP\/1\.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n$/);
    expect(heard[0]?.split(' ')[0]).toBe(method);
  });

  it.each([
    ['lines that end with LF', get().replaceAll('\r\n', '\n')],
    ['an empty line before it', `\r\n${get()}`],
    ['empty lines before it', `\n\r\n\r\n${get()}`],
    ['both, of HTTP/1.0', '\nGET http://h/ HTTP/1.0\n\n'],
  ])('the proxy serves a request with %s', async (_, request) => {
    const { port: target } = await answering(`${OK}${CL}\r\n${B}`, `${OK}${CL}\r\n${B}`);
    const { port } = await proxyTo(target);
    const client = new Client(port);
    for (const char of request) {
      client.send(char);
      await new Promise(setImmediate);
    }
    expect(await client.takeUntil(B)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('the proxy serves requests after an empty line that follows a body', async () => {
    const { port: target } = await answering(`${OK}${CL}\r\n${B}`, `${OK}${CL}\r\n${B}`);
    const { port } = await proxyTo(target);
    const post = get('/', '1.1', 'Content-Length: 1').replace('GET', 'POST');
    const client = new Client(port).send(`${post}x\r\n${get()}`);
    for (let i = 0; i < 2; i++) await client.takeUntil(B);
  });

  it.each(['\n\n', '\nHost: h:80\n\n', '\r\n\r\n'])('CONNECT that ends with %j opens a tunnel', async (end) => {
    const { port: target } = await answering('hello');
    const { port } = await proxyTo(target);
    for (const before of ['', '\r\n', '\n']) {
      const client = new Client(port).send(`${before}CONNECT h:80 HTTP/1.0${end}x`);
      await client.takeUntil('established\r\n\r\n');
    }
  });

  it('the proxy drops user information of a URL, and does not log it', async () => {
    const lines: string[] = [];
    const note = (...args: unknown[]) => void lines.push(JSON.stringify(args));
    const logger = { debug: note, info: note, warn: note, error: note };
    const { port: target, heard } = await answering(`${OK}${CL}\r\n${B}`);
    const { port, opener } = await proxyTo(target, { logger });
    const client = new Client(port).send(get('/a').replace('//h', '//ann:sec@ret@h:8080'));
    await client.takeUntil(B);
    expect(heard[0]).toMatch(/^GET \/a HTTP\/1\.1\r\nHost: h:8080\r\n/);
    opener.fault = 'dial-refused';
    const answer = await new Client(port).send(get('/a', '1.0').replace('//h', '//ann:sec@ret@h:8080')).rest();
    expect(answer).toMatch(/^HTTP\/1\.1 502 /);
    expect(`${lines.join()}${answer}${heard.join()}`).not.toMatch(/ann|sec|ret@/);
    expect(lines.length).toBeGreaterThan(0);
  });
});
