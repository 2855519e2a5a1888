/** Text on a terminal: it is safe, it fits, and numbers are short. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FailureTally, tallyText } from '../../../src/cli/terminal/failure-tally.ts';
import { logLine, sentenceLine } from '../../../src/cli/terminal/log-line.ts';
import { duration, rate, remaining, timeOfDay } from '../../../src/cli/terminal/quantities.ts';
import { safeLines, safeText } from '../../../src/cli/terminal/safe-text.ts';
import { cut, firstThatFits, widthOf } from '../../../src/cli/terminal/width.ts';

const AT = Date.UTC(2026, 10, 30, 13, 5, 53, 7);
const ESC = '\u001b';
/** Whatever acts on a terminal. */
const ACTS = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;

const hostile = fc.string({
  unit: fc.oneof(
    fc.constantFrom(ESC, '\u009b', '\n', '\r', '\u0007', '\u202e', '\u2066', '\u2028', '[', 'm', '界', '🦊', '\u0301'),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  ),
});

describe('text of others', () => {
  it('no character of a text of others acts on the terminal, and it stays one line', () => {
    fc.assert(
      fc.property(hostile, (text) => !ACTS.test(safeText(text))),
      { numRuns: 2_000 },
    );
    expect(safeText(`a${ESC}[2Jb\u202ec\r\nd`)).toBe('a\\u{1b}[2Jb\\u{202e}c  d');
  });

  it('lines of our own with a name of others in them keep their number', () => {
    expect(safeLines(`one\ntwo ${ESC}]0;title\u0007`)).toBe('one\ntwo \\u{1b}]0;title\\u{7}');
  });

  it('ordinary text is left as it is, in any script', () => {
    for (const text of ['relay.example.org:443', 'zoë 世界 Ελλάδα 🦊', '↓ 3.1 MB/s … ●'])
      expect(safeText(text)).toBe(text);
  });

  it('no message and no field of a log line can begin another line', () => {
    const fields = fc.dictionary(fc.constantFrom('peer', 'remote', 'reason'), hostile);
    fc.assert(
      fc.property(hostile, fields, (message, all) => !ACTS.test(logLine(AT, 'file', 'warn', message, all))),
      { numRuns: 1_000 },
    );
  });
});

describe('a line of text', () => {
  it('a line of a file has date, time, level and fields, and a sentence says who says it', () => {
    expect(logLine(AT, 'file', 'info', 'session started', { peer: 'alice', at: undefined, streams: 2 })).toBe(
      '2026-11-30T13:05:53.007Z info: session started peer=alice streams=2',
    );
    expect(sentenceLine(AT, 'file', 'link lost')).toBe('2026-11-30T13:05:53.007Z wstun: link lost');
  });

  it('a line of a terminal has the time of day, and a level only where something is wrong or debugged', () => {
    const time = timeOfDay(AT);
    expect(time).toMatch(/^\d\d:\d5:53$/);
    expect(logLine(AT, 'terminal', 'info', 'session started', {})).toBe(`${time} session started`);
    expect(logLine(AT, 'terminal', 'warn', 'disk full', { path: '/a b', n: [1] })).toBe(
      `${time} warn: disk full path="/a b" n=[1]`,
    );
    expect(sentenceLine(AT, 'terminal', 'link lost')).toBe(`${time} link lost`);
  });
});

describe('the width of a text', () => {
  it.each([
    ['relay', 5],
    ['世界', 4],
    ['e\u0301', 1],
    ['🦊', 2],
    ['● ◌ ↓ ↑ … ×', 11],
    ['ｆｕｌｌ', 8],
  ])('%s takes %i columns', (text, columns) => expect(widthOf(text)).toBe(columns));

  it('a text that is cut is as wide as it may be, and ends in an ellipsis', () => {
    expect(cut('relay.example.org', 8)).toBe('relay.e…');
    expect(cut('世界世界', 6)).toBe('世界…');
    expect(cut('世界世界', 1)).toBe('…');
    fc.assert(
      fc.property(
        hostile,
        fc.integer({ min: 1, max: 200 }),
        (text, columns) => widthOf(cut(safeText(text), columns)) <= columns,
      ),
    );
  });

  it('of several texts the first that fits is taken, and the last one is cut if none does', () => {
    expect(firstThatFits(['a long text', 'a text', 'text'], 7)).toBe('a text');
    expect(firstThatFits(['a long text', 'a text'], 3)).toBe('a…');
  });
});

describe('numbers', () => {
  it.each([
    [0, '0 s'],
    [6_400, '6 s'],
    [59_700, '1:00'],
    [114_000, '1:54'],
    [7_205_000, '2:00:05'],
  ])('%i ms are shown as %s', (ms, text) => expect(duration(ms)).toBe(text));

  it('what remains is counted down to zero and not below', () => {
    expect([4_001, 4_000, 1, 0, -5].map(remaining)).toEqual(['5 s', '4 s', '1 s', '0 s', '0 s']);
  });

  it.each([
    [0, '0 B/s'],
    [999, '999 B/s'],
    [20_400, '20 kB/s'],
    [3_140_000, '3.1 MB/s'],
    [999_600, '1.0 MB/s'],
    [5e18, '5000 PB/s'],
  ])('%d bytes a second are shown as %s', (value, text) => expect(rate(value)).toBe(text));
});

describe('counted failures', () => {
  it('failures are counted by their reason from the first one on, also where two reasons take turns', () => {
    const tally = new FailureTally();
    expect(tally.last).toBeUndefined();
    const seen = ['refused', 'refused', 'no answer', 'refused'].map((reason, at) =>
      tally.handle(reason, AT + at * 1000),
    );
    expect(seen).toEqual(['first', 'again', 'first', 'again']);
    expect(tally.last).toMatchObject({ reason: 'refused', count: 3, since: AT });
    expect(tally.last && tallyText(tally.last)).toBe(`refused ×3 since ${timeOfDay(AT)}`);
    tally.clear();
    expect(tally.handle('refused', AT)).toBe('first');
  });

  it('a reason that stays is to be reminded of after ten minutes, and reasons of others do not fill the memory', () => {
    const tally = new FailureTally();
    tally.handle('refused', AT);
    expect(tally.handle('refused', AT + 599_000)).toBe('again');
    expect(tally.handle('refused', AT + 600_000)).toBe('reminder');
    expect(tally.handle('refused', AT + 700_000)).toBe('again');
    for (let n = 0; n < 1_000; n++) tally.handle(`reason ${n}`, AT);
    expect(tally.handle('refused', AT)).toBe('first');
  });
});
