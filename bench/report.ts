/** What was measured, as rows, and how they are shown. Pure. */
import type { Memory } from './memory.ts';
import { median, pairwiseRatio } from './statistics.ts';

export interface Row {
  /** Unique: what was measured, with its case. */
  readonly name: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /** One value a round; the same index is the same round. */
  readonly baseline: readonly number[];
  readonly wstun: readonly number[];
  /** Of the ratio wstun / baseline. */
  readonly aim?: number;
  /** Instead, of wstun's own median. */
  readonly limit?: number;
}

/** As it goes into the JSON file. */
export interface SummedRow extends Row {
  readonly baselineMedian: number;
  readonly wstunMedian: number;
  /** wstunMedian / baselineMedian. */
  readonly ratio: number;
  /** Median of the rounds' own ratios: the one to trust on a busy machine. */
  readonly pairwise: number;
}

export function sumUp(row: Row): SummedRow {
  const baselineMedian = median(row.baseline);
  const wstunMedian = median(row.wstun);
  const ratio = wstunMedian / baselineMedian;
  return { ...row, baselineMedian, wstunMedian, ratio, pairwise: pairwiseRatio(row.wstun, row.baseline) };
}

export function formatRows(rows: readonly Row[], baselineName: string): string {
  const lines = rows
    .map(sumUp)
    .map((row) => [
      row.name,
      row.unit,
      short(row.baselineMedian),
      short(row.wstunMedian),
      row.ratio.toFixed(2),
      row.pairwise.toFixed(2),
      verdict(row),
    ]);
  return formatTable(['', 'unit', baselineName, 'wstun', 'ratio', 'pairwise', 'aim'], lines);
}

function verdict({ aim, limit, better, pairwise, wstunMedian }: SummedRow): string {
  const value = aim === undefined ? wstunMedian : pairwise;
  const bound = aim ?? limit;
  if (bound === undefined) return '';
  const met = better === 'higher' ? value >= bound : value <= bound;
  return `${better === 'higher' ? '≥' : '≤'} ${aim ?? short(bound)} ${met ? 'met' : 'MISSED'}`;
}

/** Three digits that count. */
function short(value: number): string {
  return value >= 100
    ? value.toFixed(0)
    : value >= 10
      ? value.toFixed(1)
      : value >= 1
        ? value.toFixed(2)
        : value.toFixed(3);
}

/** The first and second column to the left, the others to the right. */
export function formatTable(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const widths = head.map((_, i) => Math.max(...[head, ...lines].map((line) => line[i]?.length ?? 0)));
  const format = (line: readonly string[]): string =>
    line
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  return [head, ...lines].map(format).join('\n');
}

export function perPiece(before: Memory | undefined, after: Memory, pieces: number): Memory {
  return {
    used: (after.used - (before?.used ?? 0)) / pieces,
    resident: (after.resident - (before?.resident ?? 0)) / pieces,
  };
}

/** `limit`: of what is in use, bytes. */
export function growthRows(
  name: string,
  baseline: Memory | undefined,
  wstun: Memory | undefined,
  limit?: number,
): Row[] {
  const row = (kind: keyof Memory): Row => ({
    name: `${name}: ${kind}`,
    unit: 'KiB',
    better: 'lower',
    baseline: [(baseline?.[kind] ?? 0) / 1024],
    wstun: [(wstun?.[kind] ?? 0) / 1024],
  });
  return [{ ...row('used'), ...(limit !== undefined && { limit: limit / 1024 }) }, row('resident')];
}
