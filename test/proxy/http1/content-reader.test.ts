import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ContentReader } from '../../../src/proxy/http1/content-reader.ts';
import type { Framing } from '../../../src/proxy/http1/framing.ts';
import { Ledger } from '../../support/memory/ledger.ts';
import { anyCuts, cut, latin1, owned } from '../../support/mux/cuts.ts';

const CHUNKED: Framing = { kind: 'chunked' };

interface Outcome {
  readonly content: string;
  readonly state: 'whole' | 'broken' | 'more' | 'whole at the end';
  readonly rest: string;
}

/** Pieces have an owner each, so that whatever of them the reader releases is poisoned. */
function readContent(pieces: readonly Buffer[], framing: Framing, isStrict: boolean): Outcome {
  const reader = new ContentReader(framing, isStrict);
  const content: Buffer[] = [];
  const rest: Buffer[] = [];
  for (const piece of pieces) {
    if (reader.isBroken) break;
    const left = reader.receive(owned(piece), (part) => content.push(part));
    if (reader.isWhole) rest.push(left);
  }
  const more = reader.endsHere() ? 'whole at the end' : 'more';
  return {
    content: Buffer.concat(content).toString('latin1'),
    state: reader.isBroken ? 'broken' : reader.isWhole ? 'whole' : more,
    rest: Buffer.concat(rest).toString('latin1'),
  };
}

/**
 * The chunked coding with regular expressions, all at once: slow, and nothing in common with the reader but the
 * grammar.
 */
function naive(text: string, isStrict: boolean): Outcome {
  const size = isStrict
    ? /^([0-9a-f]{1,16})(?:[ \t]*;[\t -~\x80-\xff]*)?\r\n/i
    : /^[ \t]*([0-9a-f]+)[ \t]*(?:;[^\n]*)?\r*\n/i;
  const end = isStrict ? /^\r\n/ : /^[ \t]*\r*\n/;
  let left = text;
  let content = '';
  const outcome = (state: Outcome['state'], rest = ''): Outcome => ({ content, state, rest });
  for (;;) {
    if (!left.includes('\n')) return outcome(left.length > 4096 ? 'broken' : 'more');
    const [line, digits = ''] = size.exec(left) ?? [];
    const length = Number.parseInt(digits, 16);
    if (line === undefined || line.length > 4096 || !Number.isSafeInteger(length)) return outcome('broken');
    left = left.slice(line.length);
    if (length === 0) break;
    content += left.slice(0, length);
    if (left.length <= length) return outcome('more');
    left = left.slice(length);
    if (!left.includes('\n')) return outcome('more');
    const [gap] = end.exec(left) ?? [];
    if (gap === undefined) return outcome('broken');
    left = left.slice(gap.length);
  }
  for (;;) {
    const at = left.indexOf('\n') + 1;
    if (at === 0) return outcome(isStrict ? 'more' : 'whole at the end');
    const line = left.slice(0, at);
    left = left.slice(at);
    if (isStrict && !/^[\t -~\x80-\xff]*\r\n$/.test(line)) return outcome('broken');
    if (isStrict ? line === '\r\n' : /^[ \t]*\r*\n$/.test(line)) return outcome('whole', left);
  }
}

describe('ContentReader', () => {
  it('ContentReader releases the lines of chunks, but neither content nor the rest, wherever the bytes are split', () => {
    const message = latin1('3;x=y\r\nabc\r\nb\r\nabcdefghijk\r\n0\r\nA: b\r\n\r\nGET');
    for (const where of ['nowhere', 'everywhere'] as const) {
      const ledger = Ledger.open();
      const pieces = where === 'nowhere' ? [message] : cut(message, where);
      expect(readContent(pieces, CHUNKED, true)).toEqual({ content: 'abcabcdefghijk', state: 'whole', rest: 'GET' });
      expect([ledger.owned, ledger.released]).toEqual([message.length, message.length - 'abcabcdefghijkGET'.length]);
    }
  });

  it('ContentReader passes on as many bytes as the length says, without copies, and leaves the rest', () => {
    const reader = new ContentReader({ kind: 'length', length: 5 }, true);
    const parts: Buffer[] = [];
    const first = latin1('abc');
    const second = latin1('defgh');
    expect(reader.receive(first, (part) => parts.push(part))).toHaveLength(0);
    expect([reader.isWhole, reader.endsHere()]).toEqual([false, false]);
    expect(reader.receive(second, (part) => parts.push(part)).toString()).toBe('fgh');
    expect(reader.isWhole).toBe(true);
    expect(parts[0]).toBe(first);
    expect(parts[1]?.buffer).toBe(second.buffer);
    expect(Buffer.concat(parts).toString()).toBe('abcde');
  });

  it('ContentReader takes all up to the end of the connection if nothing else ends the content', () => {
    expect(readContent([latin1('a'), latin1('b')], { kind: 'close' }, false)).toEqual({
      content: 'ab',
      state: 'whole at the end',
      rest: '',
    });
  });

  it('ContentReader takes nothing if there is no content', () => {
    expect(readContent([latin1('a')], { kind: 'none' }, false)).toEqual({ content: '', state: 'whole', rest: 'a' });
  });

  it.each([
    ['extensions and trailers', '3;a=b;c\r\nabc\r\n0;x\r\nX: y\r\n\r\nrest', 'whole', 'whole'],
    ['zeros before a size', '0003\r\nabc\r\n000\r\n\r\nrest', 'whole', 'whole'],
    ['more zeros than a size has digits', '00000000000000003\r\nabc\r\n0\r\n\r\nrest', 'broken', 'whole'],
    ['upper case', '00A\r\nabcdefghij\r\n0\r\n\r\nrest', 'whole', 'whole'],
    ['lines that end with LF', '3\nabc\n0\n\nrest', 'broken', 'whole'],
    ['an LF behind a chunk', '3\r\nabc\n0\r\n\r\nrest', 'broken', 'whole'],
    ['an LF in an extension', '3;a\nb\r\nabc\r\n0\r\n\r\nrest', 'broken', 'broken'],
    ['a CR in an extension', '3;a\rb\r\nabc\r\n0\r\n\r\nrest', 'broken', 'whole'],
    ['blanks behind a size', '3  \r\nabc\r\n0\r\n\r\nrest', 'broken', 'whole'],
    ['blanks before a size', ' 3\r\nabc\r\n0\r\n\r\nrest', 'broken', 'whole'],
    ['a size in another notation', '0x3\r\nabc\r\n0\r\n\r\nrest', 'broken', 'broken'],
    ['a sign', '+3\r\nabc\r\n0\r\n\r\nrest', 'broken', 'broken'],
    ['a negative size', '-3\r\nabc\r\n0\r\n\r\nrest', 'broken', 'broken'],
    ['no size', '\r\nabc\r\n0\r\n\r\nrest', 'broken', 'broken'],
    ['a size beyond all counting', 'ffffffffffffffff\r\nabc', 'broken', 'broken'],
    ['a chunk that is longer than its size', '3\r\nabcd\r\n0\r\n\r\nrest', 'broken', 'broken'],
    ['a chunk that is shorter than its size', '4\r\nabc\r\n0\r\n\r\nrest', 'broken', 'whole'],
    ['a line of blanks at the end', '0\r\n \r\nrest', 'more', 'whole'],
    ['a trailer line that ends with LF', '0\r\nX: y\n\r\nrest', 'broken', 'whole'],
    ['no empty line at the end', '3\r\nabc\r\n0\r\n', 'more', 'whole at the end'],
    ['no last chunk', '3\r\nabc\r\n', 'more', 'more'],
    ['a chunk line of 4 KiB', `3;${'x'.repeat(4092)}\r\nabc\r\n0\r\n\r\nrest`, 'whole', 'whole'],
    ['a longer one', `3;${'x'.repeat(4093)}\r\nabc\r\n0\r\n\r\nrest`, 'broken', 'broken'],
    ['one without an end', `3;${'x'.repeat(5000)}`, 'broken', 'broken'],
    ['trailers of 64 KiB', `0\r\n${'X: y\r\n'.repeat(10_922)}\r\nrest`, 'whole', 'whole'],
    ['more trailers', `0\r\n${'X: y\r\n'.repeat(10_923)}\r\nrest`, 'broken', 'broken'],
  ])('ContentReader reads chunks with %s', (_, text, strictly, leniently) => {
    for (const [isStrict, state] of [
      [true, strictly],
      [false, leniently],
    ] as const) {
      const whole = readContent([latin1(text)], CHUNKED, isStrict);
      expect(whole.state).toBe(state);
      if (state === 'whole') expect(whole.rest).toBe('rest');
      expect(readContent(cut(latin1(text), 'everywhere'), CHUNKED, isStrict)).toEqual(whole);
    }
  });

  it('ContentReader finds the same as a naive reader, wherever the bytes are split', () => {
    const part = fc.constantFrom(
      ...[
        '0',
        '1',
        '3',
        '3',
        'a',
        'F',
        '\r\n',
        '\r\n',
        '\r\n',
        '\n',
        '\r',
        'abc',
        'abc',
        ';',
        ' ',
        '\t',
        'x',
        '\0',
        '-',
      ],
      ...['3\r\nabc\r\n', '3\r\nabc\r\n', '3 \r\nabc\n', '0\r\n\r\n', '0\r\n', 'X: y\r\n'],
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), anyCuts, fc.boolean(), (parts, places, isStrict) => {
        const text = parts.join('');
        expect(readContent(cut(latin1(text), places), CHUNKED, isStrict)).toEqual(naive(text, isStrict));
      }),
      { seed: 1, numRuns: 5000 },
    );
  });
});
