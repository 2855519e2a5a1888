/** What was measured, as rows, and how they are shown. Pure. */
import type { Memory } from './memory.ts';
import { median, pairwiseRatio } from './statistics.ts';

export interface Row {
  /** What was measured, with its case. */
  readonly name: string;
  /** What it was measured of: with `name`, unique. */
  readonly subject: string;
  /** What the subject runs on; empty where that is the one Node at hand, or none. */
  readonly suffix: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /** Beside what: forwarders, or what the group has in their place. */
  readonly baselineName: string;
  /** One value a round; the same index is the same round. */
  readonly baseline: readonly number[];
  /** Of forwarders that seal, and do nothing else. */
  readonly floor?: readonly number[];
  readonly measured: readonly number[];
  readonly aims: readonly Aim[];
  /** What a larger figure is made of. */
  readonly detail?: boolean;
}

export interface Aim {
  /** What must keep it: the median of what was measured, or its ratio to that of others, by rounds. */
  readonly of: 'itself' | 'baseline' | 'floor';
  readonly bound: number;
}

/** As it goes into the JSON file. */
export interface SummedRow extends Row {
  readonly medians: { readonly baseline: number; readonly floor?: number; readonly measured: number };
  /** Medians of the rounds' own ratios, measured / other: drift of the machine that all of a round met falls out. */
  readonly ratios: { readonly baseline: number; readonly floor?: number };
}

export function sumUp(row: Row): SummedRow {
  const { baseline, floor, measured } = row;
  return {
    ...row,
    medians: { baseline: median(baseline), ...(floor && { floor: median(floor) }), measured: median(measured) },
    ratios: { baseline: pairwiseRatio(measured, baseline), ...(floor && { floor: pairwiseRatio(measured, floor) }) },
  };
}

export function formatRows(rows: readonly Row[]): string {
  const verdict = (aim: Aim, row: SummedRow): string =>
    `${formatAim(aim, row)} ${judge(aim, row).met ? 'met' : 'MISSED'}`;
  const lines = rows
    .map(sumUp)
    .map((row) => [
      row.name,
      row.unit,
      row.subject,
      short(row.medians.measured),
      short(row.medians.baseline),
      short(row.medians.floor),
      times(row.ratios.baseline),
      times(row.ratios.floor),
      row.aims.map((aim) => verdict(aim, row)).join(', '),
    ]);
  const [first] = rows;
  const baseline = first ? kindOf(first.baselineName, first) : '';
  const head = ['', 'unit', 'of', 'median', baseline, 'floor', `÷ ${baseline}`, '÷ floor', 'aim'];
  // Columns that say nothing in this group.
  const isShown = (column: number): boolean => column < 5 || lines.some((line) => line[column] !== '');
  const shown = [head, ...lines].map((line) => line.filter((_, column) => isShown(column)));
  return formatTable(shown[0] ?? [], shown.slice(1), 3);
}

/** The name of a subject, or of a baseline, without what it runs on. */
export function kindOf(name: string, { suffix }: Pick<Row, 'suffix'>): string {
  return suffix !== '' && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
}

/** What an aim is for, and whether it was met. */
export function judge({ of, bound }: Aim, { better, medians, ratios }: SummedRow): { value: number; met: boolean } {
  const value = of === 'itself' ? medians.measured : (ratios[of] ?? Number.NaN);
  return { value, met: better === 'higher' ? value >= bound : value <= bound };
}

/** What an aim asks for. */
export function formatAim({ of, bound }: Aim, row: Row): string {
  const others = { itself: '', baseline: ` × ${kindOf(row.baselineName, row)}`, floor: ' × floor' }[of];
  return `${row.better === 'higher' ? '≥' : '≤'} ${Number(short(bound))}${others}`;
}

/** A ratio; empty where there is none. */
export function times(value: number | undefined): string {
  return value !== undefined && Number.isFinite(value) ? value.toFixed(2) : '';
}

/** Three digits that count; nothing where nothing was measured. */
export function short(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '';
  const digits = value === 0 || value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  return value.toFixed(digits);
}

/** The first columns to the left, the others to the right. */
export function formatTable(head: readonly string[], lines: readonly (readonly string[])[], left = 2): string {
  const widths = head.map((_, i) => Math.max(...[head, ...lines].map((line) => line[i]?.length ?? 0)));
  const format = (line: readonly string[]): string =>
    line
      .map((cell, i) => (i < left ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
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
  names: Pick<Row, 'name' | 'subject' | 'suffix' | 'baselineName'>,
  baseline: Memory | undefined,
  measured: Memory | undefined,
  limit?: number,
): Row[] {
  const row = (kind: keyof Memory): Row => ({
    ...names,
    name: `${names.name}: ${kind}`,
    unit: 'KiB',
    better: 'lower',
    baseline: [(baseline?.[kind] ?? 0) / 1024],
    measured: [(measured?.[kind] ?? 0) / 1024],
    aims: kind === 'used' && limit !== undefined ? [{ of: 'itself', bound: limit / 1024 }] : [],
  });
  return [row('used'), row('resident')];
}
