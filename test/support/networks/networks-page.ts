/**
 * The table of docs/networks.md as text: what stands in the tests, and figures. Pure. A row without new figures keeps
 * those that it has.
 */
import type { Obstacle } from './obstacle.ts';

/** As they are printed. */
export interface Figures {
  readonly said: string;
  readonly connected: string;
  readonly carries: string;
}

type Words = Pick<Obstacle, 'what' | 'program' | 'helps' | 'says'>;

const HEAD = '| in the way | program | what helps | wstun says | said after | connected after | carries |';
const RULE = '| --- | --- | --- | --- | --- | --- | --- |';
const UNKNOWN: Figures = { said: '?', connected: '?', carries: '?' };

/** @param figures new ones, by what is in the way */
export function withTable(page: string, obstacles: readonly Words[], figures: ReadonlyMap<string, Figures>): string {
  const old = figuresIn(page);
  const rows = obstacles.map((words) => row(words, figures.get(words.what) ?? old.get(words.what) ?? UNKNOWN));
  const at = page.indexOf(HEAD);
  if (at < 0) throw new Error('the page has no table');
  const rest = page.slice(at).split('\n');
  const end = rest.findIndex((line) => !line.startsWith('|'));
  return page.slice(0, at) + [HEAD, RULE, ...rows, ...rest.slice(end)].join('\n');
}

function figuresIn(page: string): ReadonlyMap<string, Figures> {
  const rows = page.split('\n').filter((line) => line.startsWith('| ') && line !== HEAD);
  return new Map(
    rows.map((line) => {
      const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
      const [, what = '', , , , said = '?', connected = '?', carries = '?'] = cells;
      return [what, { said, connected, carries }] as const;
    }),
  );
}

function row({ what, program, helps, says }: Words, { said, connected, carries }: Figures): string {
  const cells = [what, program, helps === '' ? '–' : helps, says === '' ? '–' : `“${says}”`, said, connected, carries];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}
