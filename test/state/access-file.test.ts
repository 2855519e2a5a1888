/** @module-tag waits */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import type { WstunError } from '../../src/errors.ts';
import { AccessFile } from '../../src/state/access-file.ts';
import type { AccessEntry } from '../../src/state/access-list.ts';
import { watchAccess } from '../../src/state/access-watch.ts';
import { openStateDir } from '../../src/state/state-dir.ts';
import { faultOfPromise } from '../support/faults.ts';
import { compileSources } from '../support/programs/compiled.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

/** What the relay has to keep, from the change of the file on. */
const LIMIT_MS = 2000;

async function newFile(): Promise<AccessFile<void, void>> {
  return new AccessFile(await openStateDir(join(await tempDir(), 'state')), { allow: () => {}, listen: () => {} });
}

function newEntry(name: string): AccessEntry {
  return { name, key: createIdentity().public, role: 'client', allow: [] };
}

/** A program that adds each of its arguments to the list. */
function adder(url: string, path: string): string {
  return `
    import { createIdentity } from '${url}/crypto/keys.js';
    import { AccessFile } from '${url}/state/access-file.js';
    import { openStateDir } from '${url}/state/state-dir.js';
    const file = new AccessFile(await openStateDir('${path}'), { allow: () => {}, listen: () => {} });
    for (const name of process.argv.slice(1)) await file.add({ name, key: createIdentity().public, role: 'client', allow: [] });
  `;
}

async function watched(file: AccessFile<void, void>) {
  const changes: string[][] = [];
  const faults: WstunError[] = [];
  const watch = await watchAccess(file, {
    handleChange: (entries) => changes.push(entries.map(({ name }) => name)),
    handleFault: (fault) => faults.push(fault),
  });
  onTestFinished(() => watch.close());
  return { watch, changes, faults, path: file.state.pathOf('access.toml') };
}

describe('AccessFile', () => {
  it('AccessFile creates the file with the first entry, only for its owner, and reads a missing file as an empty list', async () => {
    const file = await newFile();
    expect(await file.read()).toEqual([]);
    await file.add(newEntry('alice'));
    expect((await file.read()).map(({ name }) => name)).toEqual(['alice']);
    expect((await stat(file.state.pathOf('access.toml'))).mode & 0o777).toBe(0o600);
    await file.remove('alice');
    expect(await file.read()).toEqual([]);
    expect(await readdir(file.state.path)).toEqual(['access.toml']);
  });

  it('AccessFile keeps the file when a change is rejected, and names a malformed file', async () => {
    const file = await newFile();
    await file.add(newEntry('alice'));
    expect(await faultOfPromise(file.add(newEntry('alice')))).toBe('name-taken');
    expect(await faultOfPromise(file.remove('bob'))).toBe('name-unknown');
    await appendFile(file.state.pathOf('access.toml'), 'nonsense');
    const text = await readFile(file.state.pathOf('access.toml'), 'utf8');
    await expect(file.add(newEntry('bob'))).rejects.toThrow(`${file.state.pathOf('access.toml')}: line`);
    await expect(file.read()).rejects.toMatchObject({ fault: 'access-malformed' });
    expect(await readFile(file.state.pathOf('access.toml'), 'utf8')).toBe(text);
  });

  it('AccessFile loses no change when several processes add and remove at once', async () => {
    const file = await newFile();
    await file.add(newEntry('gone'));
    const names = ['a', 'b', 'c', 'd'].map((letter) => Array.from({ length: 6 }, (_, i) => `${letter}${i}`));
    const url = await compileSources(['crypto/keys.ts', 'state/access-file.ts', 'state/state-dir.ts']);
    const script = adder(url, file.state.path);
    const children = names.map((list) =>
      spawn(process.execPath, ['--input-type=module', '--eval', script, ...list], {
        stdio: ['ignore', 'ignore', 'inherit'],
      }),
    );
    const exits = Promise.all(children.map((child) => once(child, 'exit')));
    await file.remove('gone');
    expect((await exits).map(([code]) => code)).toEqual([0, 0, 0, 0]);
    expect((await file.read()).map(({ name }) => name).sort()).toEqual(names.flat().sort());
    expect(await readdir(file.state.path)).toEqual(['access.toml']);
  });
});

describe('AccessWatch', () => {
  it('AccessWatch applies additions and removals within two seconds', async () => {
    const file = await newFile();
    await file.add(newEntry('alice'));
    const { watch, changes } = await watched(file);
    expect(watch.entries.map(({ name }) => name)).toEqual(['alice']);
    await file.add(newEntry('bob'));
    await until(() => changes.length === 1, LIMIT_MS);
    await file.remove('alice');
    await until(() => changes.length === 2, LIMIT_MS);
    expect(changes).toEqual([['alice', 'bob'], ['bob']]);
    expect(watch.entries.map(({ name }) => name)).toEqual(['bob']);
  });

  it('AccessWatch sees a file that did not exist at the start', async () => {
    const file = await newFile();
    const { changes } = await watched(file);
    await file.add(newEntry('alice'));
    await until(() => changes.length === 1, LIMIT_MS);
  });

  it('AccessWatch sees changes by editors: in place, by rename, and in steps', async () => {
    const file = await newFile();
    await file.add(newEntry('alice'));
    const before = await readFile(file.state.pathOf('access.toml'), 'utf8');
    await file.add(newEntry('bob'));
    const after = await readFile(file.state.pathOf('access.toml'), 'utf8');
    const { changes, faults, path } = await watched(file);

    await writeFile(path, before);
    await until(() => changes.length === 1, LIMIT_MS);

    await rename(path, `${path}~`);
    await writeFile(path, after);
    await until(() => changes.length === 2, LIMIT_MS);

    await truncate(path, 0);
    await appendFile(path, before.slice(0, 500));
    await appendFile(path, before.slice(500));
    await until(() => changes.length === 3, LIMIT_MS);

    expect(changes).toEqual([['alice'], ['alice', 'bob'], ['alice']]);
    expect(faults).toEqual([]);
  });

  it('AccessWatch keeps the last valid list while the file is malformed, and reports that once', async () => {
    const file = await newFile();
    await file.add(newEntry('alice'));
    const good = await readFile(file.state.pathOf('access.toml'), 'utf8');
    const { watch, changes, faults, path } = await watched(file);
    await appendFile(path, '[bob\n');
    await until(() => faults.length === 1, LIMIT_MS);
    expect(faults[0]).toMatchObject({ fault: 'access-malformed' });
    expect(faults[0]?.message).toContain(path);
    // Another file makes the watch look again; the fault stays the same and is not told again.
    await file.state.write('relay.toml', 'x');
    await writeFile(path, `${good}\n# fine`);
    await until(() => changes.length === 1, LIMIT_MS);
    expect(faults).toHaveLength(1);
    expect(watch.entries.map(({ name }) => name)).toEqual(['alice']);
  });

  it('AccessWatch keeps the last valid list when the file is removed or becomes a directory, and applies the next', async () => {
    const file = await newFile();
    await file.add(newEntry('alice'));
    const { watch, changes, faults, path } = await watched(file);
    await rm(path);
    await until(() => faults.length === 1, LIMIT_MS);
    await mkdir(path);
    await until(() => faults.length === 2, LIMIT_MS);
    expect(faults.map(({ fault }) => fault)).toEqual(['access-malformed', 'state-unusable']);
    expect(watch.entries).toHaveLength(1);
    expect(changes).toEqual([]);
    await rm(path, { recursive: true });
    await file.add(newEntry('carol'));
    await until(() => changes.length === 1, LIMIT_MS);
    expect(changes).toEqual([['carol']]);
  });

  it('AccessWatch locks all peers out for a file with only a comment, and none for an empty file, which it reports', async () => {
    const file = await newFile();
    await file.add(newEntry('alice'));
    const { changes, faults, watch, path } = await watched(file);
    for (const text of ['', ' \n\t\n']) await writeFile(path, text);
    await until(() => faults.length === 1, LIMIT_MS);
    expect(faults[0]).toMatchObject({ fault: 'access-malformed', message: expect.stringContaining('# nobody') });
    expect([changes, watch.entries.length]).toEqual([[], 1]);
    await writeFile(path, '# nobody\n');
    await until(() => changes.length === 1, LIMIT_MS);
    expect(changes).toEqual([[]]);
  });

  it('AccessFile is not empty after its last entry is removed, and can be started anew if something else emptied it', async () => {
    const file = await newFile();
    const path = file.state.pathOf('access.toml');
    await file.add(newEntry('alice'));
    const table = (await readFile(path, 'utf8')).replace(/^#.*\n/gm, '').trimStart();
    await writeFile(path, table);
    await file.remove('alice');
    expect(await readFile(path, 'utf8')).toBe('# nobody\n');
    await writeFile(path, '');
    expect(await faultOfPromise(file.read())).toBe('access-malformed');
    await file.add(newEntry('bob'));
    expect((await file.read()).map(({ name }) => name)).toEqual(['bob']);
  });

  it.each(['[', ''])('watchAccess rejects a list that is malformed at the start: %j', async (text) => {
    const file = await newFile();
    await writeFile(file.state.pathOf('access.toml'), text);
    const none = { handleChange: () => {}, handleFault: () => {} };
    expect(await faultOfPromise(watchAccess(file, none))).toBe('access-malformed');
  });

  it('AccessWatch has no open handle and calls no handler after it is closed', async () => {
    const file = await newFile();
    const before = process.getActiveResourcesInfo().filter((kind) => kind !== 'Immediate').length;
    const { watch, changes } = await watched(file);
    const adding = file.add(newEntry('alice'));
    await watch.close();
    await adding;
    await watch.close();
    expect(process.getActiveResourcesInfo().filter((kind) => kind !== 'Immediate').length).toBeLessThanOrEqual(before);
    expect(changes).toEqual([]);
  });
});
