/**
 * Follows `wstun.toml` while a command runs: a change of the file, or SIGHUP, puts the new values in force as far as
 * they can change, and names those that need a restart. A file with a mistake changes nothing.
 */
import { basename, dirname } from 'node:path';
import { WstunError } from '../../errors.ts';
import { FileWatch, signatureOf } from '../../state/file-watch.ts';
import type { Output } from '../output.ts';
import type { SettingValue } from './settings.ts';
import type { Options, Settled } from './settle.ts';

/** An editor may write the file in steps. */
const SETTLE_MS = 100;

export interface Following {
  readonly settled: Settled;
  readonly output: Output;
  /** Keys that can change while the command runs. */
  readonly live: ReadonlySet<string>;
  /** Whether a change of such a key is one that can, by its values before and after; default: always. */
  readonly mayChange?: (key: string, before: unknown, after: unknown) => boolean;
  /** Puts options in force, or throws and changes nothing. @param keys those that differ */
  readonly apply: (options: Options, keys: ReadonlySet<string>) => Promise<void>;
}

export interface ConfigFollower {
  /** Reads the file now, also if it looks the same. Never rejects. */
  reload(): Promise<void>;
  stop(): Promise<void>;
}

export function followConfig(following: Following): ConfigFollower {
  const { path } = following.settled;
  const { logger } = following.output;
  if (path === undefined)
    return {
      reload: async () => logger.debug({}, 'there is no wstun.toml to read again'),
      stop: async () => {},
    };
  const reloader = new Reloader(path, following);
  const watch = new FileWatch({
    signature: () => signatureOf(path).catch(() => 'missing'),
    seen: following.settled.signature,
    settleMs: SETTLE_MS,
    notices: { directory: dirname(path), name: basename(path) },
    onChange: () => reloader.reload(),
    onFault: (error) => reloader.handleFault(error),
  });
  return {
    reload: () => reloader.reload(),
    stop: () => watch.close(),
  };
}

class Reloader {
  /** What is in force, by key. */
  private readonly inForce: Map<string, SettingValue>;
  private turn: Promise<void> = Promise.resolve();

  constructor(
    private readonly path: string,
    private readonly following: Following,
  ) {
    this.inForce = byKey(following.settled.values);
  }

  /** One after the other. */
  reload(): Promise<void> {
    this.turn = this.turn.then(() => this.reloadOnce()).catch((error: unknown) => this.handleFault(error));
    return this.turn;
  }

  handleFault(error: unknown): void {
    const { output } = this.following;
    const fault = error instanceof WstunError ? error : new WstunError('internal', String(error));
    output.event({ event: 'config-rejected', code: fault.code, message: fault.message });
    output.logger.error({ code: fault.code }, `${fault.message} The settings from before stay in force.`);
  }

  private async reloadOnce(): Promise<void> {
    const { settled, apply, output } = this.following;
    const next = await settled.again();
    const after = byKey(next.values);
    const keys = new Set([...this.inForce.keys(), ...after.keys()].filter((key) => this.differs(key, after)));
    const changed = [...keys].filter((key) => this.isLive(key, after.get(key)));
    const restart = [...keys].filter((key) => !changed.includes(key));
    if (changed.length > 0) await apply(this.optionsWith(changed, next), new Set(changed));
    for (const key of changed) {
      const value = after.get(key);
      if (value === undefined) this.inForce.delete(key);
      else this.inForce.set(key, value);
    }
    output.event({ event: 'config', path: this.path, changed, restart });
    output.logger.info({ changed, restart }, describe(this.path, changed, restart));
  }

  private differs(key: string, after: ReadonlyMap<string, SettingValue>): boolean {
    return JSON.stringify(this.inForce.get(key)?.raw) !== JSON.stringify(after.get(key)?.raw);
  }

  private isLive(key: string, after: SettingValue | undefined): boolean {
    const { live, mayChange = () => true } = this.following;
    return live.has(key) && mayChange(key, this.inForce.get(key)?.value, after?.value);
  }

  /** Those in force, with the changed ones in their new form. */
  private optionsWith(changed: readonly string[], next: Settled): Options {
    const options: Record<string, unknown> = { ...next.defaults };
    const values = new Map(this.inForce);
    for (const key of changed) values.delete(key);
    const after = next.values.filter(({ setting }) => changed.includes(setting.key));
    for (const { setting, value } of [...values.values(), ...after])
      if (value !== undefined) options[setting.attribute] = value;
    return options;
  }
}

function byKey(values: readonly SettingValue[]): Map<string, SettingValue> {
  return new Map(values.map((value) => [value.setting.key, value]));
}

function describe(path: string, changed: readonly string[], restart: readonly string[]): string {
  if (changed.length + restart.length === 0) return `${path} was read again; no setting has changed`;
  const parts = [
    ...(changed.length > 0 ? [`in force now: ${changed.join(', ')}`] : []),
    ...(restart.length > 0 ? [`${restart.join(', ')} ${restart.length === 1 ? 'needs' : 'need'} a restart`] : []),
  ];
  return `${path} was read again; ${parts.join('; ')}`;
}
