/** The limits of an entry, as `access.toml` and `wstun access add` have them: parses strictly, and writes. Pure. */
import { WstunError } from '../errors.ts';
import { BYTE_UNITS, inRange, RATE_UNITS, readUnits, writeUnits } from './units.ts';

/** For a person's devices, each with a dead session that the exit still keeps when the next one begins (45 s). */
export const DEFAULT_SESSIONS = 8;
const MAX_SESSIONS = 1024;

/** Bits a second: a web page would take minutes, but no stream would be closed meanwhile. */
const MIN_RATE_BITS_PER_SECOND = 8_000;
const MAX_RATE_BITS_PER_SECOND = 100_000_000_000;

const MIN_QUOTA_BYTES = 1_000;
const MAX_QUOTA_BYTES = 1_000 * 1_000_000_000_000;

/** What is missing has no limit, except `sessions`: its default is DEFAULT_SESSIONS. */
export interface EntryLimits {
  /** At once, 1 to 1024. */
  readonly sessions?: number;
  /** Bits a second in each direction, 8 kbit to 100 gbit; a multiple of 1,000. */
  readonly rate?: number;
  /** Bytes a month (UTC), both directions together; 1 KB to 1,000 TB; nine digits at most and a unit (KB, KiB, …). */
  readonly quota?: number;
}

export type LimitName = keyof EntryLimits;

interface LimitForm {
  /** Undefined if the value has another form. */
  read(value: unknown): number | undefined;
  write(value: number): number | string;
  readonly form: string;
}

const FORMS: Readonly<Record<LimitName, LimitForm>> = {
  sessions: {
    read: (value) => (isWhole(value) && value >= 1 && value <= MAX_SESSIONS ? value : undefined),
    write: (value) => value,
    form: `a number from 1 to ${MAX_SESSIONS}`,
  },
  rate: {
    read: (value) => inRange(readUnits(value, RATE_UNITS), MIN_RATE_BITS_PER_SECOND, MAX_RATE_BITS_PER_SECOND),
    write: (value) => writeUnits(value, RATE_UNITS),
    form: 'bits per second, a whole number and its unit, such as "20mbit", from "8kbit" to "100gbit"',
  },
  quota: {
    read: (value) => inRange(readUnits(value, BYTE_UNITS), MIN_QUOTA_BYTES, MAX_QUOTA_BYTES),
    write: (value) => writeUnits(value, BYTE_UNITS),
    form: 'bytes per month, a whole number and its unit (KB to TB, KiB to TiB), such as "100GB", from "1KB" to "1000TB"',
  },
};

export const LIMIT_NAMES = Object.keys(FORMS) as readonly LimitName[];

/** @throws WstunError bad-option */
export function parseLimit(name: LimitName, value: unknown): number {
  const { read, form } = FORMS[name];
  const parsed = read(value);
  if (parsed === undefined) throw new WstunError('bad-option', `it must be ${form}`);
  return parsed;
}

/** The list must be able to write them: units are whole. @throws WstunError bad-option */
export function requireLimits(limits: EntryLimits): void {
  for (const [name, value] of Object.entries(limits)) {
    const limit = LIMIT_NAMES.find((known) => known === name);
    if (limit === undefined) throw new WstunError('bad-option', `limits are ${LIMIT_NAMES.join(', ')}, not ${name}`);
    const { read, write, form } = FORMS[limit];
    if (value !== undefined && read(write(value)) !== value)
      throw new WstunError('bad-option', `limits.${name} ${value}: access.toml must be able to write it as ${form}`);
  }
}

/** Undefined if no limit is given. @throws WstunError bad-option, naming the option */
export function parseLimitOptions(options: Readonly<Partial<Record<LimitName, string>>>): EntryLimits | undefined {
  const given = LIMIT_NAMES.filter((name) => options[name] !== undefined);
  if (given.length === 0) return undefined;
  return Object.fromEntries(given.map((name) => [name, parseOption(name, options[name] ?? '')]));
}

/** The new values; undefined for `none`, no limit. @throws WstunError bad-option, naming the option */
export function parseLimitChanges(
  options: Readonly<Partial<Record<LimitName, string>>>,
): ReadonlyMap<LimitName, number | undefined> {
  const changes = new Map<LimitName, number | undefined>();
  for (const name of LIMIT_NAMES) {
    const text = options[name];
    if (text !== undefined) changes.set(name, text === 'none' ? undefined : parseOption(name, text));
  }
  return changes;
}

function parseOption(name: LimitName, text: string): number {
  const parsed = FORMS[name].read(/^\d+$/.test(text) ? Number(text) : text);
  if (parsed === undefined) throw new WstunError('bad-option', `--${name} ${text}: it must be ${FORMS[name].form}`);
  return parsed;
}

/** Lines of TOML. */
export function formatLimits(limits: EntryLimits): string {
  return written(limits)
    .map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`)
    .join('');
}

/** A line of TOML. */
export function formatLimit(name: LimitName, value: number): string {
  return `${name} = ${JSON.stringify(FORMS[name].write(value))}`;
}

/** For people: `sessions=2`. */
export function describeLimits(limits: EntryLimits): string[] {
  return written(limits).map(([name, value]) => `${name}=${value}`);
}

/** For people: `100 GB`, `20 mbit`. */
export function limitText(name: LimitName, value: number): string {
  return String(FORMS[name].write(value)).replace(/^(\d+)([A-Za-z])/, '$1 $2');
}

function written(limits: EntryLimits): [LimitName, number | string][] {
  return LIMIT_NAMES.flatMap((name) => {
    const value = limits[name];
    return value === undefined ? [] : [[name, FORMS[name].write(value)] as [LimitName, number | string]];
  });
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value);
}
