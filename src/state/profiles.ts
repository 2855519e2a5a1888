/**
 * `invites/` in a client's state directory: the invites that it keeps, by name. Secrets: 0600 in a directory of 0700.
 * `NAME.invite` has had a session. `NAME.new` was given later and has had none yet: it replaces the other only when it
 * has, so that a wrong invite does not cost the good one, and is on the disk from the start, so that it is not lost.
 * `profiles.json` holds dates alone: without it, everything else works.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../clock.ts';
import { isName, requireName } from '../crypto/names.ts';
import { WstunError } from '../errors.ts';
import { openExistingStateDir, openStateDir, type StateDir } from './state-dir.ts';

const FOLDER = 'invites';
const TRIED = '.invite';
const UNTRIED = '.new';
const DATES = 'profiles.json';
/** What a crash leaves of a write: perhaps a secret. */
const LEFT_OVER = /^\..*\.[0-9a-f]{12}\.tmp$/;
/** More is a script's mistake. */
export const MAX_PROFILES = 100;

export interface KeptInvite {
  readonly name: string;
  /** What has had a session. */
  readonly tried: string | undefined;
  /** What was given since. */
  readonly untried: string | undefined;
}

export interface ProfileDates {
  /** When the invite was given, ms since 1970. */
  readonly since?: number;
  /** When its last session began, ms since 1970. */
  readonly used?: number;
}

export class ProfileStore {
  /** Of the secrets. */
  readonly path: string;

  /** Creates nothing. @param client the client's state directory */
  constructor(
    private readonly client: string,
    private readonly clock: Clock = systemClock,
  ) {
    this.path = join(client, FOLDER);
  }

  /** In the order of the alphabet. @throws WstunError profile-unusable */
  async names(): Promise<string[]> {
    const folder = await this.existing();
    return folder === undefined ? [] : await reading(() => namesIn(folder));
  }

  /**
   * Undefined if nothing is kept under the name. On a file system that does not tell `Work` from `work`, neither could
   * two profiles: names are compared without case, everywhere.
   * @throws WstunError bad-name, profile-unusable
   */
  async read(name: string): Promise<KeptInvite | undefined> {
    requireName(name);
    const folder = await this.existing();
    if (folder === undefined) return undefined;
    return await reading(async () => {
      const known = sameName(await namesIn(folder), name);
      return known === undefined ? undefined : await readKept(folder, known);
    });
  }

  /** Empty if the file is missing or damaged. */
  async dates(): Promise<ReadonlyMap<string, ProfileDates>> {
    const folder = await this.existing();
    return folder === undefined ? new Map() : await readDates(folder);
  }

  /**
   * Keeps an invite that has had no session yet, in place of an earlier one that has had none. Returns false if it is
   * kept already. @throws WstunError bad-name, profiles-full, state-unusable
   */
  async offer(name: string, invite: string): Promise<boolean> {
    requireName(name);
    const folder = await (await openStateDir(this.client, this.clock)).subdirectory(FOLDER);
    return await folder.locked(async () => {
      await removeLeftOvers(folder);
      const names = await namesIn(folder);
      const known = sameName(names, name);
      // What cannot be read is about to be replaced.
      const before = known === undefined ? undefined : await readKept(folder, known).catch(() => undefined);
      if (before?.untried === invite) return false;
      if (before?.tried === invite) {
        // Back to the good one.
        await folder.remove(before.name + UNTRIED);
        return before.untried !== undefined;
      }
      if (known === undefined && names.length >= MAX_PROFILES)
        throw new WstunError('profiles-full', `${MAX_PROFILES} in ${this.path}`, {
          fix: 'Remove one: wstun forget NAME.',
        });
      await folder.write((known ?? name) + UNTRIED, `${invite}\n`);
      await this.note(folder, known ?? name, { since: this.clock.wallTime() });
      return true;
    });
  }

  /**
   * It has had a session. Returns true if it has replaced another one. Nothing happens if the name was removed, or got
   * another invite meanwhile. @throws WstunError state-unusable
   */
  async prove(name: string, invite: string): Promise<boolean> {
    return await this.change(name, async (folder, kept) => {
      const isUntried = kept.untried === invite;
      if (!isUntried && kept.tried !== invite) return false;
      if (isUntried) {
        // A crash in between leaves the same invite twice.
        await folder.write(kept.name + TRIED, `${invite}\n`);
        await folder.remove(kept.name + UNTRIED);
      }
      await this.note(folder, kept.name, { used: this.clock.wallTime() });
      return isUntried && kept.tried !== undefined && kept.tried !== invite;
    });
  }

  /** Puts the same invite with other relays in its place. Nothing happens if the name has another one by now. */
  async replace(name: string, invite: string, next: string): Promise<boolean> {
    return await this.change(name, async (folder, kept) => {
      const places = [...(kept.tried === invite ? [TRIED] : []), ...(kept.untried === invite ? [UNTRIED] : [])];
      for (const suffix of places) await folder.write(kept.name + suffix, `${next}\n`);
      return places.length > 0;
    });
  }

  /** Removes an invite that has had no session, if one that has is there. Returns whether it did. */
  async dropUntried(name: string, invite?: string): Promise<boolean> {
    return await this.change(name, async (folder, kept) => {
      if (kept.untried === undefined || kept.tried === undefined) return false;
      if (invite !== undefined && kept.untried !== invite) return false;
      await folder.remove(kept.name + UNTRIED);
      return true;
    });
  }

  /** Also what cannot be read. Returns false if there is none. @throws WstunError bad-name, state-unusable */
  async forget(name: string): Promise<boolean> {
    requireName(name);
    const folder = await this.existing();
    if (folder === undefined) return false;
    return await folder.locked(async () => {
      await removeLeftOvers(folder);
      const known = sameName(await namesIn(folder), name);
      if (known === undefined) return false;
      for (const suffix of [UNTRIED, TRIED]) await folder.remove(known + suffix);
      await this.note(folder, known, undefined);
      return true;
    });
  }

  private async change(name: string, work: (folder: StateDir, kept: KeptInvite) => Promise<boolean>): Promise<boolean> {
    requireName(name);
    const folder = await this.existing();
    if (folder === undefined) return false;
    return await folder.locked(async () => {
      const known = sameName(await namesIn(folder), name);
      return known !== undefined && (await work(folder, await readKept(folder, known)));
    });
  }

  /** @param dates undefined: the name is gone */
  private async note(folder: StateDir, name: string, dates: ProfileDates | undefined): Promise<void> {
    const all = new Map(await readDates(folder));
    if (dates === undefined) all.delete(name);
    else all.set(name, { ...all.get(name), ...dates });
    const names = await namesIn(folder);
    const kept = [...all].filter(([each]) => names.includes(each));
    await folder.write(DATES, `${JSON.stringify(Object.fromEntries(kept))}\n`);
  }

  /** @throws WstunError profile-unusable */
  private async existing(): Promise<StateDir | undefined> {
    if (!existsSync(this.path)) return undefined;
    return await reading(() => openExistingStateDir(this.path, this.clock));
  }
}

async function readKept(folder: StateDir, name: string): Promise<KeptInvite> {
  const read = async (suffix: string) => (await folder.read(name + suffix, { secret: true }))?.trim();
  return { name, tried: await read(TRIED), untried: await read(UNTRIED) };
}

async function namesIn(folder: StateDir): Promise<string[]> {
  const names = (await folder.names()).flatMap((file) => {
    const suffix = [TRIED, UNTRIED].find((each) => file.endsWith(each));
    const name = suffix === undefined ? '' : file.slice(0, -suffix.length);
    return isName(name) ? [name] : [];
  });
  return [...new Set(names)].sort((a, b) => (a < b ? -1 : 1));
}

function sameName(names: readonly string[], name: string): string | undefined {
  return names.find((each) => each === name) ?? names.find((each) => each.toLowerCase() === name.toLowerCase());
}

async function removeLeftOvers(folder: StateDir): Promise<void> {
  for (const file of (await folder.names()).filter((each) => LEFT_OVER.test(each))) await folder.remove(file);
}

async function readDates(folder: StateDir): Promise<ReadonlyMap<string, ProfileDates>> {
  try {
    const parsed: unknown = JSON.parse((await folder.read(DATES, { secret: false })) ?? '{}');
    return new Map(Object.entries(Object(parsed)).map(([name, dates]) => [name, datesOf(dates)]));
  } catch {
    return new Map();
  }
}

function datesOf(value: unknown): ProfileDates {
  const { since, used } = Object(value) as Record<string, unknown>;
  return { ...(isDate(since) && { since }), ...(isDate(used) && { used }) };
}

/** A Date cannot hold more (ECMA-262 §21.4.1.1). */
function isDate(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= 8.64e15;
}

/** Its advice is about invites, not about the state of a relay. */
async function reading<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof WstunError) || error.fault !== 'state-unusable') throw error;
    throw new WstunError('profile-unusable', error.detail);
  }
}
