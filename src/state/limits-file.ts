/** `limits.toml` in a state directory, written by its owner: overrides defaults of docs/limits.md. Read once. */
import { WstunError } from '../errors.ts';
import type { StateDir } from './state-dir.ts';
import { parseToml } from './toml.ts';
import { BYTE_UNITS, inRange, readUnits } from './units.ts';

const NAME = 'limits.toml';
const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Missing limits have their defaults. */
export interface ProcessLimits {
  /** Of a session, at once. */
  readonly streams?: number;
  /** Of a session, a second; twice as many at once. */
  readonly opens?: number;
  /** What a session's peer can make this end hold, bytes. */
  readonly session_memory?: number;
  /** Of an access entry, at once. */
  readonly dials?: number;
  /** Of all. */
  readonly all_dials?: number;
  /** Of the process, bytes; beyond it nothing new is taken. */
  readonly memory?: number;
  /** Of a relay: links. */
  readonly links?: number;
  /** Of a relay: connections that are no links, in all. */
  readonly pending?: number;
  /** Of a relay that shows a site: connections of its visitors. */
  readonly visitors?: number;
  /** Of the pending ones, from one public address; 0: no bound. */
  readonly pending_per_address?: number;
}

interface Form {
  read(value: unknown): number | undefined;
  readonly form: string;
}

const count = (least: number, most: number): Form => ({
  read: (value) => inRange(Number.isInteger(value) ? Number(value) : undefined, least, most),
  form: `a number from ${least} to ${most}`,
});
const bytes = (least: number, most: number, form: string): Form => ({
  read: (value) => inRange(readUnits(value, BYTE_UNITS), least, most),
  form: `bytes, a whole number and its unit, ${form}`,
});

const FORMS: Readonly<Record<keyof ProcessLimits, Form>> = {
  streams: count(1, 65_536),
  opens: count(1, 1_000_000),
  session_memory: bytes(MIB, 4 * GIB, 'from "1MiB" to "4GiB"'),
  dials: count(1, 65_536),
  all_dials: count(1, 65_536),
  memory: bytes(32 * MIB, 1024 * GIB, 'from "32MiB" to "1024GiB"'),
  links: count(1, 1_000_000),
  pending: count(1, 1_000_000),
  visitors: count(1, 1_000_000),
  pending_per_address: count(0, 1_000_000),
};

/** Without a file all limits have their defaults. @throws WstunError state-unusable, limits-malformed */
export async function readLimits(state: StateDir): Promise<ProcessLimits> {
  const text = await state.read(NAME, { secret: false });
  if (text === undefined) return {};
  const fault = (detail: string) => new WstunError('limits-malformed', `${state.pathOf(NAME)}: ${detail}`);
  return Object.fromEntries(
    Object.entries(parseToml(text, fault)).map(([name, value]) => [name, limitOf(name, value, fault)]),
  );
}

type FaultOf = (detail: string) => WstunError;

function limitOf(name: string, value: unknown, fault: FaultOf): number {
  const form = Object.hasOwn(FORMS, name) ? FORMS[name as keyof ProcessLimits] : undefined;
  if (form === undefined) throw fault(`it has "${name}", but can have only ${Object.keys(FORMS).join(', ')}`);
  const read = form.read(value);
  if (read === undefined) throw fault(`${name} must be ${form.form}`);
  return read;
}
