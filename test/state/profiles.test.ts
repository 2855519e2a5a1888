/** The invites that a client keeps, as files: whatever happens to them, the one that worked is not lost. */
import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MAX_PROFILES, ProfileStore } from '../../src/state/profiles.ts';
import { faultOfPromise } from '../support/faults.ts';
import { tempDir } from '../support/temp-dir.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

async function newStore() {
  const client = join(await tempDir(), 'client');
  const clock = new VirtualClock();
  return { store: new ProfileStore(client, clock), folder: join(client, 'invites'), client, clock };
}

describe('a kept invite', () => {
  it('replaces the one before it only when it has had a session', async () => {
    const { store, folder } = await newStore();
    expect(await store.offer('work', 'one')).toBe(true);
    expect(await store.offer('work', 'one')).toBe(false);
    expect(await store.read('work')).toEqual({ name: 'work', tried: undefined, untried: 'one' });
    expect(await store.prove('work', 'one')).toBe(false);
    await store.offer('work', 'two');
    await store.offer('work', 'three');
    expect(await store.read('work')).toEqual({ name: 'work', tried: 'one', untried: 'three' });
    // A client that still runs with another one changes nothing of it.
    expect([await store.prove('work', 'one'), await store.prove('work', 'two')]).toEqual([false, false]);
    expect(await store.read('work')).toEqual({ name: 'work', tried: 'one', untried: 'three' });
    expect(await store.prove('work', 'three')).toBe(true);
    expect(await store.read('work')).toEqual({ name: 'work', tried: 'three', untried: undefined });
    expect((await readdir(folder)).sort()).toEqual(['profiles.json', 'work.invite']);
  });

  it('is replaced by the same one with other relays, where it is still the one that is in use', async () => {
    const { store, folder } = await newStore();
    expect(await store.replace('work', 'one', 'one+')).toBe(false);
    await store.offer('work', 'one');
    expect(await store.replace('work', 'one', 'one+')).toBe(true);
    expect(await store.read('work')).toEqual({ name: 'work', tried: undefined, untried: 'one+' });
    await store.prove('work', 'one+');
    await store.offer('work', 'two');
    expect(await store.replace('work', 'one+', 'one++')).toBe(true);
    expect(await store.replace('work', 'one', 'never')).toBe(false);
    expect(await store.read('work')).toEqual({ name: 'work', tried: 'one++', untried: 'two' });
    expect((await stat(join(folder, 'work.invite'))).mode & 0o777).toBe(0o600);
    expect((await readdir(folder)).sort()).toEqual(['profiles.json', 'work.invite', 'work.new']);
  });

  it('gives way to the one before it where it never worked', async () => {
    const { store } = await newStore();
    await store.offer('work', 'one');
    // There is none before it.
    expect(await store.dropUntried('work')).toBe(false);
    await store.prove('work', 'one');
    await store.offer('work', 'two');
    expect(await store.dropUntried('work', 'one')).toBe(false);
    expect(await store.dropUntried('work', 'two')).toBe(true);
    await store.offer('work', 'three');
    expect(await store.offer('work', 'one')).toBe(true);
    expect(await store.read('work')).toEqual({ name: 'work', tried: 'one', untried: undefined });
  });

  it('is 0600 in a directory of 0700, has dates, and is removed with everything that a crash left of it', async () => {
    const { store, folder, clock } = await newStore();
    expect([await store.names(), await store.read('work'), await store.forget('work')]).toEqual([[], undefined, false]);
    await store.offer('work', 'one');
    await clock.advance(1000);
    await store.prove('work', 'one');
    expect(await store.dates()).toEqual(new Map([['work', { since: 1_700_000_000_000, used: 1_700_000_001_000 }]]));
    const modes = ['.', ...(await readdir(folder))].map(async (name) => (await stat(join(folder, name))).mode & 0o777);
    expect(await Promise.all(modes)).toEqual([0o700, 0o600, 0o600]);
    // As a crash in the middle of a write leaves it.
    await writeFile(join(folder, '.work.new.0123456789ab.tmp'), 'hal');
    expect(await store.names()).toEqual(['work']);
    expect(await store.forget('work')).toBe(true);
    expect(await readdir(folder)).toEqual(['profiles.json']);
    expect(await readFile(join(folder, 'profiles.json'), 'utf8')).toBe('{}\n');
    // Meanwhile a client had its first session.
    expect(await store.prove('work', 'one')).toBe(false);
    expect(await store.names()).toEqual([]);
  });

  it('survives a crash between the two steps by which it replaces another', async () => {
    const { store, folder } = await newStore();
    await store.offer('work', 'two');
    await writeFile(join(folder, 'work.invite'), 'two\n', { mode: 0o600 });
    expect(await store.prove('work', 'two')).toBe(false);
    expect(await store.read('work')).toEqual({ name: 'work', tried: 'two', untried: undefined });
  });

  it('is whole whatever several clients write at once', async () => {
    const { store, client } = await newStore();
    // Of another process, as far as files go: nothing is shared in memory.
    const all = Array.from({ length: 8 }, (_, i) => ({ other: new ProfileStore(client), invite: `invite-${i}` }));
    await Promise.all(
      all.map(async ({ other, invite }, i) => {
        await other.offer('work', invite);
        await other.prove('work', invite);
        await other.offer(`own-${i}`, invite);
      }),
    );
    const { tried, untried } = (await store.read('work')) ?? {};
    for (const each of [tried, untried]) if (each !== undefined) expect(each).toMatch(/^invite-\d$/);
    expect(await store.names()).toEqual([...all.map((_, i) => `own-${i}`), 'work']);
    expect((await store.dates()).size).toBe(9);
  });
});

describe('names of kept invites', () => {
  it('never lead out of the directory, and are the same in capitals', async () => {
    const { store, folder } = await newStore();
    for (const name of ['../x', '/x', '.x', '', 'a/b', 'a\\b', 'a\0b', 'x'.repeat(64)]) {
      expect([name, await faultOfPromise(store.offer(name, 'one'))]).toEqual([name, 'bad-name']);
      expect([name, await faultOfPromise(store.read(name))]).toEqual([name, 'bad-name']);
      expect([name, await faultOfPromise(store.forget(name))]).toEqual([name, 'bad-name']);
    }
    await store.offer('Work', 'one');
    await store.offer('work', 'two');
    expect(await store.read('WORK')).toMatchObject({ name: 'Work', untried: 'two' });
    expect((await readdir(folder)).sort()).toEqual(['Work.new', 'profiles.json']);
  });

  it('are a hundred at most, and those that are there can still get another invite', async () => {
    const { store, folder } = await newStore();
    await store.offer('name-0', 'one');
    for (let i = 1; i < MAX_PROFILES; i++) await writeFile(join(folder, `name-${i}.invite`), 'one\n', { mode: 0o600 });
    expect(await faultOfPromise(store.offer('another', 'one'))).toBe('profiles-full');
    expect(await store.offer('name-7', 'two')).toBe(true);
  });
});

describe('a directory of kept invites', () => {
  it('is rejected while others have access to it or to an invite, with the command that mends it', async () => {
    const { store, folder, client } = await newStore();
    await store.offer('work', 'one');
    await chmod(join(folder, 'work.new'), 0o640);
    await expect(store.read('work')).rejects.toMatchObject({
      fault: 'profile-unusable',
      message: expect.stringContaining(`chmod 600 ${folder}/work.new`),
    });
    // What cannot be read can be replaced and removed.
    await store.offer('work', 'two');
    expect(await store.read('work')).toMatchObject({ untried: 'two' });
    await chmod(folder, 0o755);
    expect(await faultOfPromise(store.names())).toBe('profile-unusable');
    expect(await faultOfPromise(store.offer('work', 'three'))).toBe('state-unusable');
    await chmod(folder, 0o700);
    await chmod(client, 0o777);
    expect(await faultOfPromise(store.offer('work', 'three'))).toBe('state-unusable');
  });

  it('loses nothing but dates with its list of dates, and ignores files that are none of its own', async () => {
    const { store, folder } = await newStore();
    await store.offer('work', 'one');
    for (const text of ['', '{', 'null', '[1]', '{"work":7}', '{"work":{"since":"x","used":1e300}}']) {
      await writeFile(join(folder, 'profiles.json'), text);
      expect((await store.dates()).get('work') ?? {}).toEqual({});
      expect(await store.names()).toEqual(['work']);
    }
    await store.prove('work', 'one');
    expect((await store.dates()).get('work')?.used).toBe(1_700_000_000_000);
    await mkdir(join(folder, 'other.d'));
    await writeFile(join(folder, '.hidden.invite'), 'x');
    await symlink('/does/not/exist', join(folder, 'gone.invite'));
    await mkdir(join(folder, 'folder.invite'));
    expect(await store.names()).toEqual(['folder', 'gone', 'work']);
    expect(await faultOfPromise(store.read('folder'))).toBe('profile-unusable');
    expect(await store.read('work')).toMatchObject({ tried: 'one' });
  });
});
