/** Numbers with a unit, as `access.toml`, `limits.toml` and options have them: whole numbers, strictly read. Pure. */

/** The largest first. */
type Units = readonly (readonly [unit: string, size: number])[];

export const RATE_UNITS: Units = [
  ['gbit', 1_000_000_000],
  ['mbit', 1_000_000],
  ['kbit', 1_000],
];

export const BYTE_UNITS: Units = [
  ['TiB', 2 ** 40],
  ['TB', 1_000_000_000_000],
  ['GiB', 2 ** 30],
  ['GB', 1_000_000_000],
  ['MiB', 2 ** 20],
  ['MB', 1_000_000],
  ['KiB', 2 ** 10],
  ['KB', 1_000],
];

/** Undefined for anything but a text of a whole number and one of the units. */
export function readUnits(value: unknown, units: Units): number | undefined {
  const match = typeof value === 'string' ? /^([1-9]\d{0,8})([A-Za-z]+)$/.exec(value) : null;
  const size = units.find(([unit]) => unit === match?.[2])?.[1];
  return size === undefined ? undefined : Number(match?.[1]) * size;
}

/** In the largest unit that leaves a whole number; every value that was read has one. */
export function writeUnits(value: number, units: Units): string {
  const [unit, size] = units.find(([, each]) => value % each === 0) ?? ['', 1];
  return `${value / size}${unit}`;
}

export function inRange(value: number | undefined, least: number, most: number): number | undefined {
  return value !== undefined && value >= least && value <= most ? value : undefined;
}
