/** Answers of proxies to CONNECT, cut anywhere. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AnswerResult,
  ConnectAnswerReader,
  MAX_ANSWER_HEAD_BYTES,
} from '../../../src/transport/proxy/connect-answer.ts';

/** Cut at these places. Ends where the answer is complete, or with the connection. */
function read(text: string, cuts: readonly number[] = []): AnswerResult {
  const bytes = Buffer.from(text, 'latin1');
  const reader = new ConnectAnswerReader();
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const to of [...places, bytes.length]) {
    const result = reader.push(bytes.subarray(from, to));
    from = to;
    if (result === undefined) continue;
    // What follows a success belongs to the tunnel.
    if (!('answer' in result)) return result;
    const later = result.answer.status < 300 ? bytes.subarray(from) : Buffer.alloc(0);
    return { answer: { ...result.answer, rest: Buffer.concat([result.answer.rest, later]) } };
  }
  return reader.end();
}

const shown = (result: AnswerResult): unknown =>
  'fault' in result
    ? result.fault
    : [result.answer.status, result.answer.isReusable, result.answer.rest.toString('latin1')];

describe('an answer to CONNECT', () => {
  it.each<[string, string, unknown]>([
    ['a success', 'HTTP/1.1 200 OK\r\n\r\n', [200, true, '']],
    ['a success of HTTP/1.0 without a reason', 'HTTP/1.0 200\r\nContent-Length: 5\r\n\r\nhello', [200, true, 'hello']],
    ['a success with lines that end in LF', 'HTTP/1.1 200 Connection established\nVia: x\n\nhi', [200, true, 'hi']],
    ['a success after an interim response', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx', [200, true, 'x']],
    ['a refusal with a length', 'HTTP/1.1 407 No\r\nContent-Length: 3\r\n\r\nabc', [407, true, '']],
    ['a refusal of HTTP/1.0', 'HTTP/1.0 407 No\r\nContent-Length: 3\r\n\r\nabc', [407, false, '']],
    [
      'a refusal of HTTP/1.0 that keeps the connection',
      'HTTP/1.0 407 No\r\nProxy-Connection: keep-alive\r\nContent-Length: 3\r\n\r\nabc',
      [407, true, ''],
    ],
    ['a refusal that closes', 'HTTP/1.1 407 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', [407, false, '']],
    [
      'a refusal in chunks',
      'HTTP/1.1 407 No\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n',
      [407, true, ''],
    ],
    ['a refusal that only the end ends', 'HTTP/1.1 403 No\r\n\r\nabc', [403, false, '']],
    ['SSH', 'SSH-2.0-OpenSSH_9.2\r\n', 'not-http'],
    ['no answer', '', 'cut-short'],
    ['half a head', 'HTTP/1.1 200 OK\r\nVia', 'not-http'],
    ['HTTP/2', 'HTTP/2 200 OK\r\n\r\n', 'not-http'],
    ['an endless head', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(MAX_ANSWER_HEAD_BYTES)}`, 'head-too-large'],
    ['a head that is too long', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(MAX_ANSWER_HEAD_BYTES)}\r\n\r\n`, 'head-too-large'],
  ])('%s is read, however it is cut', (_name, text, expected) => {
    expect(shown(read(text))).toEqual(expected);
    const cuts = fc.array(fc.nat({ max: Math.min(text.length, 300) }), { maxLength: 8 });
    fc.assert(
      fc.property(cuts, (places) => {
        expect(shown(read(text, places))).toEqual(expected);
      }),
      { numRuns: 30 },
    );
  });

  it.each([
    ['of chunks', 'HTTP/1.1 407 x\r\nTransfer-Encoding: chunked\r\n\r\n', '1\r\nx\r\n', 100],
    ['of lines', 'HTTP/1.1 407 x\r\n', 'a\r\n', 3],
  ])('that is full %s, in small pieces, does not stop this process', { tags: ['waits'] }, (_name, head, unit, size) => {
    const reader = new ConnectAnswerReader();
    const bytes = Buffer.from(head + unit.repeat(300 * 1024));
    let result: AnswerResult | undefined;
    for (let at = 0; result === undefined; at += size) result = reader.push(bytes.subarray(at, at + size));
    expect(['head-too-large', 407]).toContain('fault' in result ? result.fault : result.answer.status);
  });

  it('may be any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(shown(read(`HTTP/1.1 407 x\r\n${Buffer.from(bytes).toString('latin1')}`))).toBeDefined();
      }),
    );
  });
});
