import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type RequestHead, RequestScanner } from '../../../src/relay/site/request-scanner.ts';

/** The targets of the heads that are found in these chunks, and whether the scanner looks for more. */
function scan(chunks: readonly Buffer[]): { targets: string[]; ends: number[]; isBlind: boolean } {
  const scanner = new RequestScanner();
  const targets: string[] = [];
  const ends: number[] = [];
  let before = 0;
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const { end, head, begin } = scanner.read(chunk, at);
      expect(end).toBeGreaterThan(at);
      if (head !== undefined) {
        targets.push(head.url);
        ends.push(before + end);
        if (begin !== -1) expect(chunk.toString('latin1', begin, end)).toContain(`${head.method} ${head.url} HTTP/`);
      }
      at = end;
    }
    before += chunk.length;
  }
  return { targets, ends, isBlind: scanner.isBlind };
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set([0, ...places.map((place) => place % (bytes.length + 1)), bytes.length])].sort(
    (a, b) => a - b,
  );
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

const LONG = 'x'.repeat(20_000);

const headOf = (text: string): RequestHead | undefined => {
  const bytes = Buffer.from(text, 'latin1');
  return new RequestScanner().read(bytes, 0).head;
};

/** A whole request: its target and its bytes. Contents look like requests, too. */
const content = fc.constantFrom('', 'x', 'GET /inside HTTP/1.1\r\nHost: a\r\n\r\n', '\r\n\r\n', '\0'.repeat(50));
const request = fc.record({
  target: fc.constantFrom('/', '/a', '/b?c=d', '*', 'http://host/e', `/${'t'.repeat(168)}`),
  body: content,
  framing: fc.constantFrom('none', 'length', 'chunked'),
  emptyLine: fc.boolean(),
  chunkSize: fc.integer({ min: 1, max: 40 }),
});
type Request = typeof request extends fc.Arbitrary<infer T> ? T : never;

function bytesOf({ target, body, framing, emptyLine, chunkSize }: Request): string {
  const head = `${emptyLine ? '\r\n' : ''}POST ${target} HTTP/1.1\r\nHost: relay\r\n`;
  if (framing === 'none') return `${head}\r\n`;
  if (framing === 'length') return `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
  const chunks: string[] = [];
  for (let at = 0; at < body.length; at += chunkSize) {
    const part = body.slice(at, at + chunkSize);
    chunks.push(`${part.length.toString(16)};a=b\r\n${part}\r\n`);
  }
  return `${head}Transfer-Encoding: chunked\r\n\r\n${chunks.join('')}0\r\nTrailer: x\r\n\r\n`;
}

describe('the scanner of requests', () => {
  it('the scanner finds exactly the heads of the requests, however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(request, { maxLength: 6 }), fc.array(fc.nat(4_000)), (requests, places) => {
        const bytes = Buffer.from(requests.map(bytesOf).join(''), 'latin1');
        const { targets, isBlind } = scan(cut(bytes, places));
        expect([targets, isBlind]).toEqual([requests.map(({ target }) => target), false]);
      }),
    );
  });

  it('the scanner finds the same in any bytes, however they are cut', () => {
    const text = fc.constantFrom(
      'GET / HTTP/1.1\r\n',
      'Host: a\r\n',
      '\r\n',
      '\n',
      '\r',
      'x',
      '\0',
      'Content-Length: 3\r\n',
    );
    fc.assert(
      fc.property(fc.array(text, { maxLength: 30 }), fc.array(fc.nat(400)), (parts, places) => {
        const bytes = Buffer.from(parts.join(''), 'latin1');
        if (bytes.length === 0) return;
        expect(scan(cut(bytes, places))).toEqual(scan([bytes]));
      }),
    );
  });

  it('the scanner never throws, and goes on to the end of any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), (chunks) => {
        scan(chunks.map((chunk) => Buffer.from(chunk)).filter((chunk) => chunk.length > 0));
      }),
    );
  });

  it.each([
    ['a line feed alone', 'GET / HTTP/1.1\nHost: a\r\n\r\n'],
    ['a carriage return alone', 'GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n'],
    ['a folded line', 'GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n'],
    ['a space before the colon', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n'],
    ['a NUL', 'GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n'],
    ['two lengths', 'POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    ['a length and a transfer coding', 'POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['another transfer coding', 'POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['chunks in HTTP/1.0', 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['a negative length', 'POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n'],
    ['CONNECT with content', 'CONNECT a:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\n'],
    ['a tunnel', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03\x01'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['no HTTP', '\x16\x03\x01\x02\0'],
    ['a chunk without a size', 'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'],
    ['a chunk that is longer than its size', 'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n'],
    ['a target of 17 KiB', `GET /${'x'.repeat(17 * 1024)} HTTP/1.1\r\n\r\n`],
    ['a long head with a line feed alone', `GET / HTTP/1.1\r\nA: ${'x'.repeat(17 * 1024)}\r\n\n`],
    ['a long head with two lengths', `GET / HTTP/1.1\r\nA: ${LONG}\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\n`],
    ['a long head with a long length', `GET / HTTP/1.1\r\nA: ${LONG}\r\nContent-Length: ${'0'.repeat(2000)}\r\n\r\n`],
  ])('the scanner looks no further after %s', (_what, bytes) => {
    const after = 'GET /after HTTP/1.1\r\nHost: relay\r\n\r\n';
    const { targets, isBlind } = scan([Buffer.from(bytes + after, 'latin1')]);
    expect(isBlind).toBe(true);
    expect(targets).not.toContain('/after');
  });

  it('the scanner finds the request after one whose head is long, which it does not show, however they are cut', () => {
    const after = 'GET /after HTTP/1.1\r\nHost: relay\r\n\r\n';
    const framing = fc.constantFrom(
      '\r\n',
      `Content-Length: ${after.length}\r\n\r\n${after}`,
      `Transfer-Encoding: chunked\r\n\r\n${after.length.toString(16)}\r\n${after}\r\n0\r\n\r\n`,
    );
    fc.assert(
      fc.property(framing, fc.array(fc.nat(40_000)), fc.nat(20_000), (rest, places, size) => {
        const filler = `A: ${'y'.repeat(size)}\r\nB: ${'x'.repeat(16_384)}\r\n`;
        const bytes = Buffer.from(`POST /long HTTP/1.1\r\n${filler}${rest}${after}`, 'latin1');
        expect(scan(cut(bytes, places))).toEqual({ targets: ['/after'], ends: [bytes.length], isBlind: false });
      }),
    );
  });

  it('the scanner finds the request after a CONNECT that was rejected', () => {
    const bytes = 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nGET /after HTTP/1.1\r\nHost: relay\r\n\r\n';
    expect(scan([Buffer.from(bytes)]).targets).toEqual(['a:1', '/after']);
  });

  it('the scanner gives names in lower case, values without white space around, and joins what is repeated', () => {
    expect(headOf('GET /x HTTP/1.0\r\nA-b:  c d \t\r\nE:\r\na-B: f\r\n\r\n')).toEqual({
      method: 'GET',
      url: '/x',
      httpVersion: '1.0',
      headers: { 'a-b': 'c d, f', e: '' },
    });
  });

  it('a field named as a member of every object is a field like any other', () => {
    expect(headOf('GET /x HTTP/1.1\r\n__proto__: a\r\nconstructor: b\r\n\r\n')?.headers.constructor).toBe('b');
  });
});
