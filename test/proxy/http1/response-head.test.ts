import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { serialiseHead, TOKEN_CHARS } from '../../../src/proxy/http1/fields.ts';
import {
  announcedLength,
  parseResponseHead,
  RESPONSE_FIRST_LINE,
  type ResponseHead,
  responseFraming,
} from '../../../src/proxy/http1/response-head.ts';

const OK = 'HTTP/1.1 200 OK';

function headOf(...lines: string[]): string {
  return `${[OK, ...lines].join('\r\n')}\r\n\r\n`;
}

function parsed(text: string): ResponseHead {
  const head = parseResponseHead(text);
  if (head === undefined) throw new Error('no status line');
  return head;
}

const framed = (...lines: string[]) => responseFraming('GET', parsed(headOf(...lines)));

describe('parseResponseHead', () => {
  it.each([
    ['HTTP/1.1 200 OK', 200, 'OK', true, false],
    ['HTTP/1.1 404', 404, '', true, false],
    ['HTTP/1.1 404 ', 404, '', true, false],
    ['HTTP/1.1 999 \xc3\xbc \xff', 999, '\xc3\xbc \xff', true, false],
    ['HTTP/1.0 200 OK', 200, 'OK', false, false],
    ['http/1.1 200 OK', 200, 'OK', true, true],
    ['HTTP/2 200', 200, '', false, true],
    ['HTTP/1.2 200 OK', 200, 'OK', false, true],
    ['HTTP 200 OK', 200, 'OK', false, true],
    ['HTTP/1.1  200  OK', 200, 'OK', true, true],
    ['HTTP/1.1\t200\tOK', 200, 'OK', true, true],
    ['ICY 200 OK', 200, 'OK', false, true],
    ['HTTP/1.1 200 a\rb\0c', 200, 'a b c', true, true],
  ])(
    'parseResponseHead reads %j as %i %j; persistent: %s; lenient: %s',
    (line, status, reason, isPersistent, isLenient) => {
      expect(parseResponseHead(`${line}\r\n\r\n`)).toEqual({ status, reason, isPersistent, isLenient, rawHeaders: [] });
      expect(RESPONSE_FIRST_LINE.matches(`${line}\r\n`)).toBe(true);
    },
  );

  it.each([
    '',
    'nonsense',
    'HTTP/1.1 OK',
    'HTTP/1.1 20 OK',
    'HTTP/1.1 2000 OK',
    'HTTP/1.1 0200',
    'HTTP/1.1 099',
    'HTTP/x 200',
  ])('parseResponseHead rejects %j', (line) => {
    expect(parseResponseHead(`${line}\r\n\r\n`)).toBeUndefined();
  });

  it.each([
    ['values as they are', headOf('X:\xa0\xfc\x85 ', 'Y: \ta\tb'), ['X', '\xa0\xfc\x85', 'Y', 'a\tb'], false],
    ['lines that end with LF', `${OK}\nX: y\n\n`, ['X', 'y'], true],
    ['an LF among CRLFs', `${OK}\r\nX: y\nZ: 1\r\n\r\n`, ['X', 'y', 'Z', '1'], true],
    ['CRs before the end of a line', `${OK}\r\r\nX: y\r\r\n\r\r\n`, ['X', 'y'], true],
    ['a blank before the colon', headOf('X : y', 'Content-Length\t: 5'), ['X', 'y', 'Content-Length', '5'], true],
    ['a blank in a name', headOf('X Y: z'), ['X Y', 'z'], true],
    ['a name in quotes', headOf('"X": y'), ['"X"', 'y'], true],
    ['a name with a byte of 80 or above', headOf('X\xe9: y'), ['X\xe9', 'y'], true],
    ['a folded line', headOf('X: a', ' b', '\t c', 'Y: z'), ['X', 'a b c', 'Y', 'z'], true],
    ['a folded length', headOf('Content-Length:', ' 11'), ['Content-Length', '11'], true],
    ['a line of blanks', headOf('X: a', '   ', 'Y: z'), ['X', 'a', 'Y', 'z'], true],
    ['a control byte', headOf('X: a\x01\x7f'), ['X', 'a\x01\x7f'], true],
    ['a CR or NUL within', headOf('X: a\rb\0c'), ['X', 'a b c'], true],
    ['nothing of a folded line before all', headOf(' X: y', 'Y: z'), ['Y', 'z'], true],
    ['nothing of a line without a colon', headOf('rubbish', 'Y: z'), ['Y', 'z'], true],
    ['nothing of a line without a name', headOf(': y', ' : y', 'Y: z'), ['Y', 'z'], true],
    ['nothing of a name with a control byte', headOf('Content-Length\x0b: 5', 'Y: z'), ['Y', 'z'], true],
  ])('parseResponseHead forwards %s', (_, text, rawHeaders, isLenient) => {
    expect(parsed(text)).toMatchObject({ rawHeaders, isLenient });
  });

  it.each([
    ['HTTP/1.1', [], true],
    ['HTTP/1.1', ['Connection: x, CLOSE'], false],
    ['HTTP/1.0', [], false],
    ['HTTP/1.0', ['Connection: Keep-Alive'], true],
  ])('parseResponseHead knows whether the target keeps the connection: %s %j %s', (version, lines, isPersistent) => {
    expect(parsed(headOf(...lines).replace('HTTP/1.1', version))).toMatchObject({ isPersistent, isLenient: false });
  });

  it('parseResponseHead reads a correct response back to the same, and strictly', () => {
    const token = fc.stringMatching(new RegExp(`^x[${TOKEN_CHARS}]{1,12}$`));
    const text = fc.stringMatching(/^(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]{0,20}[!-~\x80-\xff])?)?$/);
    const fields = fc.array(fc.tuple(token, text), { maxLength: 8 });
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 999 }), text, fields, (status, reason, pairs) => {
        const written = serialiseHead(`HTTP/1.1 ${status} ${reason}`, pairs.flat()).toString('latin1');
        expect(parsed(written)).toEqual({
          status,
          reason,
          rawHeaders: pairs.flat(),
          isLenient: false,
          isPersistent: true,
        });
      }),
      { seed: 1 },
    );
  });

  it('parseResponseHead returns nothing that would be another line, whatever comes', () => {
    const part = fc.constantFrom(
      '\r',
      '\n',
      ' ',
      '\t',
      ':',
      'X',
      '\0',
      '\x0b',
      '\xff',
      'Content-Length',
      'HTTP/1.1 200 ',
      '"',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
        const head = parseResponseHead(headOf(parts.join('')));
        for (const text of [...(head?.rawHeaders ?? []), head?.reason ?? '']) expect(text).not.toMatch(/[\r\n\0]/);
        for (let i = 0; i < (head?.rawHeaders.length ?? 0); i += 2) {
          expect(head?.rawHeaders[i]).toMatch(/^[^\s:](?:[^:]*[^\s:])?$/);
        }
      }),
      { seed: 1, numRuns: 2000 },
    );
  });

  it('parseResponseHead takes linear time for a malicious header', () => {
    const heads = [
      headOf('X: y', ...new Array(15_000).fill(' a')),
      headOf(`X${' '.repeat(60_000)}y: z`),
      headOf(`X: ${'\r'.repeat(60_000)}y`),
      headOf(`X: ${' \t'.repeat(30_000)}\x01`),
      `${OK} ${'\r'.repeat(60_000)}x\r\n\r\n`,
      headOf(...new Array(20_000).fill('a:')),
      headOf(`Content-Length: ${'1,'.repeat(30_000)}`),
      headOf(`Transfer-Encoding: ${','.repeat(60_000)}`),
    ];
    const begun = process.cpuUsage();
    for (const head of heads) responseFraming('GET', parsed(head));
    // Microseconds. Anything that goes over the text more than a few times takes seconds.
    expect(process.cpuUsage(begun).user).toBeLessThan(1_500_000);
  });
});

describe('responseFraming', () => {
  it.each([
    ['a length', ['Content-Length: 11'], { kind: 'length', length: 11 }],
    ['a length of none', ['Content-Length: 0'], { kind: 'none' }],
    ['nothing', [], { kind: 'close' }],
    ['chunks', ['Transfer-Encoding: Chunked'], { kind: 'chunked' }],
    [
      'chunks, whatever length stands beside them',
      ['Content-Length: 3', 'Transfer-Encoding: chunked'],
      { kind: 'chunked' },
    ],
    ['chunks that are named twice', ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], { kind: 'chunked' }],
    ['chunks with identity', ['Transfer-Encoding: identity, chunked'], { kind: 'chunked' }],
    ['identity and a length', ['Transfer-Encoding: identity', 'Content-Length: 11'], { kind: 'length', length: 11 }],
    ['identity', ['Transfer-Encoding: identity'], { kind: 'close' }],
    ['the same length twice', ['Content-Length: 11', 'Content-Length: 11'], { kind: 'length', length: 11 }],
    ['a list of the same length', ['Content-Length: 11, 011'], { kind: 'length', length: 11 }],
    ['a content coding, which is the program’s to undo', ['Content-Encoding: gzip'], { kind: 'close' }],
  ])('responseFraming finds %s', (_, lines, framing) => {
    expect(framed(...lines)).toEqual(framing);
  });

  it.each([
    ['two lengths', ['Content-Length: 11', 'Content-Length: 5']],
    ['a list of lengths', ['Content-Length: 11, 5']],
    ['no number', ['Content-Length: 11abc']],
    ['a sign', ['Content-Length: +11']],
    ['an empty length', ['Content-Length:']],
    ['a length beyond all counting', ['Content-Length: 99999999999999999999']],
    ['gzip in chunks', ['Transfer-Encoding: gzip, chunked']],
    ['gzip in chunks, on two lines', ['Transfer-Encoding: gzip', 'Transfer-Encoding: chunked']],
    ['gzip up to the end', ['Transfer-Encoding: gzip']],
    ['chunks in quotes', ['Transfer-Encoding: "chunked"']],
  ])('responseFraming rejects %s', (_, lines) => {
    expect(framed(...lines)).toMatchObject({ kind: 'bad' });
  });

  it.each([
    ['HEAD', 200],
    ['GET', 103],
    ['GET', 204],
    ['GET', 304],
  ])('responseFraming finds no content in a response to %s with %i, whatever it says', (method, status) => {
    const head = parsed(headOf('Transfer-Encoding: gzip', 'Content-Length: x').replace('200', String(status)));
    expect(responseFraming(method, head)).toEqual({ kind: 'none' });
  });

  it.each([
    ['both lengths', 'Content-Length: 3', 'Transfer-Encoding: chunked'],
    ['a length twice', 'Content-Length: 3', 'Content-Length: 3'],
    ['a list', 'Content-Length: 3, 3', 'X: y'],
    ['a coding twice', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
  ])('a response is lenient with %s', (_, ...lines) => {
    expect(parsed(headOf(...lines)).isLenient).toBe(true);
  });

  it('a response is lenient if it can have no content, but announces some', () => {
    const of204 = (line: string) => parsed(headOf(line).replace('200', '204')).isLenient;
    expect([of204('Content-Length: 0'), of204('Content-Length: 5'), of204('Transfer-Encoding: chunked')]).toEqual([
      false,
      true,
      true,
    ]);
  });

  it('a response is lenient if HTTP/1.0 has a coding', () => {
    expect(parsed(headOf('Transfer-Encoding: chunked').replace('1.1', '1.0')).isLenient).toBe(true);
    expect(parsed(headOf('Transfer-Encoding: chunked')).isLenient).toBe(false);
  });
});

describe('announcedLength', () => {
  it.each([
    [[], undefined],
    [['Content-Length', '5'], 5],
    [['content-length', '5, 5', 'CONTENT-LENGTH', '05'], 5],
    [['Content-Length', '5, 6'], Number.NaN],
    [['Content-Length', ''], Number.NaN],
  ])('announcedLength of %j is %s', (rawHeaders, length) => {
    expect(announcedLength(rawHeaders)).toBe(length);
  });
});
