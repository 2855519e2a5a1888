import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { serialiseHead, TOKEN_CHARS } from '../../../src/proxy/http1/fields.ts';
import {
  parseRequestHead,
  REQUEST_FIRST_LINE,
  type RequestHead,
  requestFraming,
  wantsToStay,
} from '../../../src/proxy/http1/request-head.ts';

const LINE = 'POST http://h/ HTTP/1.1';

function headOf(...lines: string[]): string {
  return `${[LINE, 'Host: h', ...lines].join('\r\n')}\r\n\r\n`;
}

/** What its framing is, or why it is refused. */
function framed(text: string): unknown {
  const head = parseRequestHead(text);
  if ('reason' in head) return head.status;
  const framing = requestFraming(head);
  return 'reason' in framing ? framing.status : framing;
}

describe('parseRequestHead', () => {
  it.each([
    [
      'any token as the method',
      "!#$%&'*+-.^_`|~aZ09 http://h/ HTTP/1.0\r\n\r\n",
      { method: "!#$%&'*+-.^_`|~aZ09", minor: 0 },
    ],
    ['a method nobody has registered', 'LIST http://h/v1 HTTP/1.0\r\n\r\n', { method: 'LIST', url: 'http://h/v1' }],
    ['a method in lower case as another one', 'get http://h/ HTTP/1.0\r\n\r\n', { method: 'get' }],
    [
      'bytes of 80 to FF in the URL',
      'GET http://h/\xc3\xbc\xff\x80 HTTP/1.0\r\n\r\n',
      { url: 'http://h/\xc3\xbc\xff\x80' },
    ],
    ['lines that end with LF', 'GET http://h/ HTTP/1.1\nHost: h\nX:y\n\n', { rawHeaders: ['Host', 'h', 'X', 'y'] }],
    ['values without blanks around them', headOf('X: \t a\tb \t'), { rawHeaders: ['Host', 'h', 'X', 'a\tb'] }],
    ['bytes of 80 to FF in values', headOf('X:\xa0\xfc\x85'), { rawHeaders: ['Host', 'h', 'X', '\xa0\xfc\x85'] }],
    ['empty values', headOf('X:', 'Y: '), { rawHeaders: ['Host', 'h', 'X', '', 'Y', ''] }],
    ['no Host in HTTP/1.0', 'GET http://h/ HTTP/1.0\r\n\r\n', { rawHeaders: [] }],
    ['no Host for CONNECT', 'CONNECT h:1 HTTP/1.1\r\n\r\n', { rawHeaders: [] }],
  ])('parseRequestHead accepts %s', (_, text, head) => {
    expect(parseRequestHead(text)).toMatchObject(head);
  });

  it.each([
    ['no Host in HTTP/1.1', 'GET http://h/ HTTP/1.1\r\n\r\n'],
    ['two blanks', 'GET  http://h/ HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['a tab', 'GET\thttp://h/ HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['a blank in the URL', 'GET http://h/a b HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['a control byte in the URL', 'GET http://h/\x01 HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['no version', 'GET http://h/\r\nHost: h\r\n\r\n'],
    ['another version', 'GET http://h/ HTTP/2.0\r\nHost: h\r\n\r\n'],
    ['a version in lower case', 'GET http://h/ http/1.1\r\nHost: h\r\n\r\n'],
    ['a blank behind the version', 'GET http://h/ HTTP/1.1 \r\nHost: h\r\n\r\n'],
    ['a blank before the method', ' GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['lines that end in different ways', `${LINE}\r\nHost: h\nX: y\r\n\r\n`],
    ['an LF before the empty line alone', `${LINE}\nHost: h\n\r\n`],
    ['an empty line of LF alone', `${LINE}\r\nHost: h\r\n\n`],
    ['an empty line of two CRs', `${LINE}\r\nHost: h\r\n\r\r\n`],
    ['a CR within', headOf('X: a\rContent-Length: 5')],
    ['a CR at the end of a value', headOf('X: a\r')],
    ['a NUL', headOf('X: a\0b')],
    ['a control byte', headOf('X: a\x0bb')],
    ['DEL', headOf('X: a\x7f')],
    ['a folded line', headOf('X: a', ' b')],
    ['a folded line before all', `${LINE}\r\n Host: h\r\n\r\n`],
    ['a blank before a colon', headOf('Content-Length : 5')],
    ['a tab before a colon', headOf('Transfer-Encoding\t: chunked')],
    ['a blank in a name', headOf('X Y: z')],
    ['no name', headOf(': z')],
    ['no colon', headOf('Transfer-Encoding')],
    ['a byte of 80 or above in a name', headOf('X\xa0: y')],
    ['a control byte in a name', headOf('Transfer-Encoding\x0b: chunked')],
  ])('parseRequestHead rejects %s', (_, text) => {
    expect(parseRequestHead(text)).toMatchObject({ status: 400 });
  });

  it('parseRequestHead reads a written request back to the same', () => {
    const token = fc.stringMatching(new RegExp(`^[${TOKEN_CHARS}]{1,12}$`));
    const value = fc.stringMatching(/^(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]{0,20}[!-~\x80-\xff])?)?$/);
    const url = fc.stringMatching(/^[!-~\x80-\xff]{1,30}$/);
    const fields = fc.array(fc.tuple(token, value), { maxLength: 8 });
    fc.assert(
      fc.property(token, url, fields, fc.constantFrom(0 as const, 1 as const), (method, target, pairs, minor) => {
        const rawHeaders = ['Host', 'h', ...pairs.flat()];
        const line = `${method} ${target} HTTP/1.${minor}`;
        const text = serialiseHead(line, rawHeaders).toString('latin1');
        expect(parseRequestHead(text)).toEqual({ method, url: target, minor, rawHeaders });
        expect(REQUEST_FIRST_LINE.matches(`${line}\r\n`)).toBe(true);
        for (let i = 0; i <= line.length; i++) expect(REQUEST_FIRST_LINE.canBegin(line.slice(0, i))).toBe(true);
      }),
      { seed: 1 },
    );
  });

  it('parseRequestHead takes linear time for a malicious header', () => {
    const fill = ['X: ', 'a'.repeat(30_000), ' '.repeat(30_000), '\t', '\x01'];
    const heads = [
      headOf(fill.join('')),
      headOf(`X${' '.repeat(60_000)}: y`),
      headOf(`X: ${'\r'.repeat(60_000)}y`),
      `${'\r'.repeat(60_000)}\n\n`,
      headOf(...new Array(20_000).fill('a:')),
    ];
    const begun = process.cpuUsage();
    for (const head of heads) parseRequestHead(head);
    const { user } = process.cpuUsage(begun);
    // Microseconds. Anything that goes over the text more than a few times takes seconds.
    expect(user).toBeLessThan(1_000_000);
  });
});

describe('requestFraming', () => {
  it.each([
    ['nothing', [], { kind: 'none' }],
    ['a length', ['Content-Length: 5'], { kind: 'length', length: 5 }],
    ['a length of none', ['Content-Length: 0'], { kind: 'none' }],
    ['zeros before a length', ['Content-Length: 0005'], { kind: 'length', length: 5 }],
    ['chunks', ['Transfer-Encoding: Chunked'], { kind: 'chunked' }],
    ['chunks with tabs around them', ['Transfer-Encoding:\tchunked\t'], { kind: 'chunked' }],
  ])('requestFraming finds %s', (_, lines, framing) => {
    expect(framed(headOf(...lines))).toEqual(framing);
  });

  it.each([
    ['both', ['Content-Length: 3', 'Transfer-Encoding: chunked'], 400],
    ['both, the other way round', ['Transfer-Encoding: chunked', 'Content-Length: 3'], 400],
    ['a length and no coding', ['Content-Length: 3', 'Transfer-Encoding: identity'], 400],
    ['a length and an empty coding', ['Content-Length: 3', 'Transfer-Encoding:'], 400],
    ['two lengths', ['Content-Length: 3', 'content-length: 4'], 400],
    ['the same length twice', ['Content-Length: 3', 'Content-Length: 3'], 400],
    ['a list of lengths', ['Content-Length: 3, 3'], 400],
    ['an empty length', ['Content-Length:'], 400],
    ['a sign', ['Content-Length: +3'], 400],
    ['a negative length', ['Content-Length: -3'], 400],
    ['a hexadecimal length', ['Content-Length: 0x3'], 400],
    ['a length with a blank in it', ['Content-Length: 3 3'], 400],
    ['digits of another script', ['Content-Length: \xb3'], 400],
    ['a length beyond all counting', ['Content-Length: 9007199254740993'], 400],
    ['another coding', ['Transfer-Encoding: gzip'], 501],
    ['another coding within', ['Transfer-Encoding: gzip, chunked'], 501],
    ['chunks that are not last', ['Transfer-Encoding: chunked, identity'], 501],
    ['chunks twice', ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], 501],
    ['chunks twice in a list', ['Transfer-Encoding: chunked, chunked'], 501],
    ['chunks and something else', ['Transfer-Encoding: chunked', 'Transfer-Encoding: x'], 501],
    ['chunks in quotes', ['Transfer-Encoding: "chunked"'], 501],
    ['chunks with a parameter', ['Transfer-Encoding: chunked;q=1'], 501],
    ['chunks with a byte of A0 before them', ['Transfer-Encoding: \xa0chunked'], 501],
    ['an empty element', ['Transfer-Encoding: ,chunked'], 501],
    ['no coding at all', ['Transfer-Encoding: identity'], 501],
  ])('requestFraming rejects %s', (_, lines, status) => {
    expect(framed(headOf(...lines))).toBe(status);
  });
});

describe('wantsToStay', () => {
  it.each([
    [1, [], true],
    [0, [], false],
    [0, ['Connection', 'Keep-Alive'], true],
    [0, ['Proxy-Connection', 'keep-alive'], true],
    [1, ['Connection', 'x, Close'], false],
    [1, ['Proxy-Connection', 'close'], false],
    [0, ['Connection', 'keep-alive', 'Connection', 'close'], false],
    [0, ['Connection', 'keep-alive', 'Transfer-Encoding', 'chunked'], false],
    [1, ['Transfer-Encoding', 'chunked'], true],
  ] as const)('wantsToStay in HTTP/1.%i with %j: %s', (minor, rawHeaders, stays) => {
    const head: RequestHead = { method: 'GET', url: '/', minor, rawHeaders };
    expect(wantsToStay(head)).toBe(stays);
  });
});
