/** `exits.json`: each exit's latest gate keys. After a restart its clients are told that it is absent. No secrets. */
import { sleep } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { decodeBase64url } from '../crypto/base64url.ts';
import { KEY_BYTES } from '../crypto/keys.ts';
import { isName } from '../crypto/names.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'exits.json';
/** Between two writes: an exit that announces again and again must not wear out the disk. */
const PAUSE_MS = 1_000;
/** More than a gate accepts; 46 bytes each, so that the file stays below what a state directory reads. */
const MAX_KEYS = 50_000;

/** Exit to gate keys, base64url. */
export type ExitKeys = ReadonlyMap<string, readonly string[]>;

export class KnownExits {
  private readonly keys: Map<string, readonly string[]>;
  private readonly closing = new AbortController();
  private dirty = false;
  private writing: Promise<void> | undefined;

  /** Only `loadKnownExits` makes one. */
  constructor(
    private readonly state: StateDir,
    exits: ExitKeys,
    private readonly logger: Logger,
    private readonly clock: Clock,
  ) {
    this.keys = new Map(exits);
  }

  get exits(): ExitKeys {
    return this.keys;
  }

  /** Writes soon; of several lists that come meanwhile, the last. Drops an empty list, and one beyond the limit. */
  set(exit: string, keys: readonly string[]): void {
    // Each new control link announces the same list again.
    if (keys.join() === (this.keys.get(exit) ?? []).join()) return;
    this.keys.delete(exit);
    if (keys.length > 0 && this.count() + keys.length <= MAX_KEYS) this.keys.set(exit, keys);
    this.dirty = true;
    this.writing ??= this.write().finally(() => {
      this.writing = undefined;
    });
  }

  /** Resolves when everything is written; from now on without pauses. */
  async close(): Promise<void> {
    this.closing.abort();
    await this.writing;
  }

  private count(): number {
    let count = 0;
    for (const keys of this.keys.values()) count += keys.length;
    return count;
  }

  /** A relay that cannot write continues: it would only know less after a restart. */
  private async write(): Promise<void> {
    while (this.dirty) {
      this.dirty = false;
      try {
        await this.state.write(NAME, `${JSON.stringify(Object.fromEntries(this.keys))}\n`);
      } catch (error) {
        if (!(error instanceof WstunError)) throw error;
        this.logger.warn({ code: error.code }, error.message);
      }
      await sleep(this.clock, PAUSE_MS, this.closing.signal);
    }
  }
}

/** A file that cannot be read counts as empty. @throws WstunError state-unusable */
export async function loadKnownExits(state: StateDir, logger: Logger, clock: Clock = systemClock): Promise<KnownExits> {
  const exits = await readExits(state);
  if (exits === undefined)
    logger.warn({}, `${state.pathOf(NAME)} cannot be read; exits will announce their clients again`);
  return new KnownExits(state, exits ?? new Map(), logger, clock);
}

/** As the relay wrote it last; undefined if it cannot be read. */
export async function readExits(state: StateDir): Promise<ExitKeys | undefined> {
  const text = await state.read(NAME, { secret: false });
  return text === undefined ? new Map() : parseExits(text);
}

/** Undefined for anything but exits and their keys. */
export function exitsOf(parsed: unknown): ExitKeys | undefined {
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const entries = Object.entries(parsed as Readonly<Record<string, unknown>>);
  return entries.every(isExit) ? new Map(entries) : undefined;
}

function parseExits(text: string): ExitKeys | undefined {
  try {
    return exitsOf(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function isExit(entry: [string, unknown]): entry is [string, string[]] {
  const [name, keys] = entry;
  return isName(name) && Array.isArray(keys) && keys.every(isKey);
}

function isKey(key: unknown): boolean {
  return typeof key === 'string' && decodeBase64url(key)?.length === KEY_BYTES;
}
