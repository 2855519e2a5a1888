import { describe, expect, it } from 'vitest';
import { wholeScreen } from '../../../src/cli/terminal/whole-screen.ts';

const TEXT = ['one', 'two', 'three', 'four'].join('\n');

function rowsOf(text: string, columns: number, rows: number): readonly string[] {
  const shown = wholeScreen(text, { columns, rows }).replaceAll('\u001b', '^');
  expect(shown).toMatch(/^\^\[\?7l\^\[H.*\^\[J\^\[\?7h$/s);
  return shown.slice('^[?7l^[H'.length, -'^[J^[?7h'.length).split('^[K\r\n').slice(0, -1);
}

describe('a text from the top of a terminal', () => {
  it('a text that fits leaves the last row and the last column free', () => {
    expect(rowsOf(TEXT, 6, 5)).toEqual(['one', 'two', 'three', 'four']);
  });

  it('a text with more lines than rows says how many are missing', () => {
    expect(rowsOf(TEXT, 80, 4)).toEqual(['one', 'two', '… 2 more lines in a taller terminal']);
    expect(rowsOf(TEXT, 80, 1)).toEqual(['… 4 more lines in a taller terminal']);
  });

  it('lines that are too wide are cut', () => {
    expect(rowsOf(TEXT, 5, 24)).toEqual(['one', 'two', 'thr…', 'four']);
  });
});
