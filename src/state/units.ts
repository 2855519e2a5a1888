/** Numbers with a unit, as `access.toml`, `limits.toml` and options have them: whole numbers, parsed strictly. Pure. */

/** The largest first; `spelling` matches how people also write it. */
type Units = readonly (readonly [unit: string, size: number, spelling: RegExp])[];

/** Also without "bit", and "a second". A capital B would be bytes. */
const RATE = (letter: string): RegExp => {
  const either = `[${letter}${letter.toUpperCase()}]`;
  return new RegExp(`^${either}(?:[bB]it[sS]?)?(?:/s|ps)?$|^${either}b(?:/s|ps)$`);
};

export const RATE_UNITS: Units = [
  ['gbit', 1_000_000_000, RATE('g')],
  ['mbit', 1_000_000, RATE('m')],
  ['kbit', 1_000, RATE('k')],
];

export const BYTE_UNITS: Units = [
  ['TiB', 2 ** 40, /^tib?$/i],
  ['TB', 1_000_000_000_000, /^tb?$/i],
  ['GiB', 2 ** 30, /^gib?$/i],
  ['GB', 1_000_000_000, /^gb?$/i],
  ['MiB', 2 ** 20, /^mib?$/i],
  ['MB', 1_000_000, /^mb?$/i],
  ['KiB', 2 ** 10, /^kib?$/i],
  ['KB', 1_000, /^kb?$/i],
];

/** Undefined for anything but a text of a whole number and one of the units. */
export function readUnits(value: unknown, units: Units): number | undefined {
  const match = typeof value === 'string' ? /^([1-9]\d{0,8}) ?([A-Za-z/]+)$/.exec(value) : null;
  const given = match?.[2] ?? '';
  const size = units.find(([unit, , spelling]) => unit === given || spelling.test(given))?.[1];
  return size === undefined ? undefined : Number(match?.[1]) * size;
}

/** In the largest unit that gives a whole number; every value that was read has one. */
export function writeUnits(value: number, units: Units): string {
  const [unit, size] = units.find(([, each]) => value % each === 0) ?? ['', 1];
  return `${value / size}${unit}`;
}

export function inRange(value: number | undefined, least: number, most: number): number | undefined {
  return value !== undefined && value >= least && value <= most ? value : undefined;
}
