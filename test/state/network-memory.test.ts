import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/observability/logger.ts';
import { readNetworkMemory } from '../../src/state/network-memory.ts';
import { openStateDir } from '../../src/state/state-dir.ts';
import { tempDir } from '../support/temp-dir.ts';

describe('networks.json', () => {
  it('networks.json keeps what was saved last, for its owner only', async () => {
    const state = await openStateDir(await tempDir());
    const file = await readNetworkMemory(state, silentLogger);
    expect(file.content).toBeUndefined();
    for (let count = 0; count < 50; count++) file.save({ count });
    await file.close();
    expect((await stat(state.pathOf('networks.json'))).mode & 0o777).toBe(0o600);
    expect(await readFile(state.pathOf('networks.json'), 'utf8')).toBe('{"count":49}\n');
    expect((await readNetworkMemory(state, silentLogger)).content).toEqual({ count: 49 });
  });

  it.each<[string, string, number]>([
    ['that is no JSON', '{"count":', 0o600],
    ['that is too long', `"${'x'.repeat(70_000)}"`, 0o600],
    ['that others can read', '{"count":1}', 0o644],
  ])('networks.json %s counts as empty, and is replaced', async (_what, text, mode) => {
    const state = await openStateDir(await tempDir());
    await writeFile(state.pathOf('networks.json'), text);
    await chmod(state.pathOf('networks.json'), mode);
    const file = await readNetworkMemory(state, silentLogger);
    expect(file.content).toBeUndefined();
    file.save({ count: 2 });
    await file.close();
    expect((await readNetworkMemory(state, silentLogger)).content).toEqual({ count: 2 });
  });

  it('networks.json that cannot be written ends nothing', async () => {
    const path = await tempDir();
    const state = await openStateDir(path);
    const file = await readNetworkMemory(state, silentLogger);
    // A directory in its place cannot be replaced by a file.
    await (await state.subdirectory('networks.json')).write('x', 'y');
    file.save({ count: 1 });
    await expect(file.close()).resolves.toBeUndefined();
  });
});
