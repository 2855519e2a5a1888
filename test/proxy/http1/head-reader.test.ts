import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FirstLine, HeadReader, MAX_HEAD_BYTES } from '../../../src/proxy/http1/head-reader.ts';
import { REQUEST_FIRST_LINE } from '../../../src/proxy/http1/request-head.ts';
import { RESPONSE_FIRST_LINE } from '../../../src/proxy/http1/response-head.ts';
import { Ledger } from '../../support/memory/ledger.ts';
import { anyCuts, cut, latin1, owned } from '../../support/mux/cuts.ts';

/** The outcome as text, and how many bytes were left behind the head. */
function readHead(pieces: readonly Buffer[], firstLine: FirstLine): string {
  const reader = new HeadReader(firstLine);
  for (const [i, piece] of pieces.entries()) {
    const step = reader.receive(owned(piece));
    if (step.kind === 'more') continue;
    if (step.kind !== 'head') return step.kind;
    return `${step.text}|${Buffer.concat([step.rest, ...pieces.slice(i + 1)]).toString('latin1')}`;
  }
  return 'more';
}

const GET = 'GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n';

describe('HeadReader', () => {
  it('HeadReader releases all but what follows the head, wherever the bytes are split', () => {
    const whole = latin1(`\r\n${GET}body`);
    for (const at of [0, 1, 7, whole.length - 5, whole.length - 4, whole.length - 2]) {
      const ledger = Ledger.open();
      expect(readHead([whole.subarray(0, at), whole.subarray(at)], REQUEST_FIRST_LINE)).toBe(`${GET}|body`);
      expect(ledger.released).toBe(whole.length - 'body'.length);
    }
  });

  it.each([
    ['ends with CRLF', GET, `${GET}|`],
    ['ends with LF', 'GET / HTTP/1.0\n\n', 'GET / HTTP/1.0\n\n|'],
    ['has bytes behind it', `${GET}body`, `${GET}|body`],
    ['has empty lines before it', `\r\n\n\r\n${GET}`, `${GET}|`],
    ['is not whole', 'GET / HTTP/1.1\r\nHost: h\r\n', 'more'],
    ['has not begun', '\r\n\r\n', 'more'],
    ['begins otherwise', '\x16\x03\x01', 'foreign'],
    ['is of another protocol with lines', 'SSH-2.0-x\r\n', 'foreign'],
    ['has bytes in its first line that no request has', 'GET \x01', 'foreign'],
    ['is larger than its bound', `GET / HTTP/1.1\r\nX: ${'x'.repeat(MAX_HEAD_BYTES)}`, 'too-large'],
    ['has nothing but empty lines', '\r\n'.repeat(MAX_HEAD_BYTES), 'too-large'],
  ])('HeadReader recognises a request that %s', (_, text, outcome) => {
    expect(readHead([latin1(text)], REQUEST_FIRST_LINE)).toBe(outcome);
    expect(readHead(cut(latin1(text), 'everywhere'), REQUEST_FIRST_LINE)).toBe(outcome);
  });

  it.each([
    ['an answer', 'HTTP/1.1 200 OK\r\n\r\n', 'HTTP/1.1 200 OK\r\n\r\n|'],
    ['SHOUTcast', 'ICY 200 OK\r\n\r\nx', 'ICY 200 OK\r\n\r\n|x'],
    ['an end of CRs', 'http/1.1 200 OK\r\r\n\r\r\nx', 'http/1.1 200 OK\r\r\n\r\r\n|x'],
    ['a greeting', '220 mail.example', 'foreign'],
    ['bytes', '\0\0\0', 'foreign'],
    ['what could still become one', 'HT', 'more'],
    ['what no longer can', 'HTX', 'foreign'],
  ])('HeadReader recognises, for a response, %s', (_, text, outcome) => {
    expect(readHead([latin1(text)], RESPONSE_FIRST_LINE)).toBe(outcome);
    expect(readHead(cut(latin1(text), 'everywhere'), RESPONSE_FIRST_LINE)).toBe(outcome);
  });

  it('HeadReader takes as many bytes as its limit, and not one more', () => {
    const before = 'GET / HTTP/1.1\r\nX: ';
    const filled = (length: number) => `${before}${'x'.repeat(length - before.length - 4)}\r\n\r\n`;
    expect(readHead([latin1(filled(MAX_HEAD_BYTES))], REQUEST_FIRST_LINE)).toBe(`${filled(MAX_HEAD_BYTES)}|`);
    expect(readHead([latin1(filled(MAX_HEAD_BYTES + 1))], REQUEST_FIRST_LINE)).toBe('too-large');
  });

  it('HeadReader has the same outcome wherever the bytes are split', () => {
    const part = fc.constantFrom(
      '\r',
      '\n',
      '\r\n',
      '\r\n\r\n',
      'GET ',
      'http://h/ ',
      'HTTP/1.1',
      'ICY 200 ',
      ' ',
      ':',
      'X',
      '\0',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), anyCuts, fc.boolean(), (parts, places, isRequest) => {
        const bytes = latin1(parts.join(''));
        const firstLine = isRequest ? REQUEST_FIRST_LINE : RESPONSE_FIRST_LINE;
        expect(readHead(cut(bytes, places), firstLine)).toBe(readHead([bytes], firstLine));
      }),
      { seed: 1, numRuns: 3000 },
    );
  });
});
