import { readFile, stat, writeFile } from 'node:fs/promises';
import { expect, it, vi } from 'vitest';
import { silentLogger } from '../../src/observability/logger.ts';
import { openStateDir, type StateDir } from '../../src/state/state-dir.ts';
import { openUsage, readUsage } from '../../src/state/usage-file.ts';
import { tempDir } from '../support/temp-dir.ts';

const JANUARY = Date.UTC(2026, 0, 31, 23, 59, 59, 999);
const FEBRUARY = Date.UTC(2026, 1, 1);

async function stateDir(): Promise<StateDir> {
  const path = await tempDir();
  return openStateDir(path);
}

it('counts by name, and finds the counts again, in a file that is its owner’s alone', async () => {
  const state = await stateDir();
  const usage = await openUsage(state, silentLogger, () => JANUARY);
  usage.add('alice', 5);
  usage.add('bob', 7);
  usage.add('alice', 6);
  await usage.close();
  expect((await stat(state.pathOf('usage.json'))).mode & 0o777).toBe(0o600);
  const again = await openUsage(state, silentLogger, () => JANUARY);
  expect([again.usedBy('alice'), again.usedBy('bob'), again.usedBy('carol')]).toEqual([11, 7, 0]);
});

it('begins anew with the month of UTC, while it runs and when it starts', async () => {
  const state = await stateDir();
  let now = JANUARY;
  const usage = await openUsage(state, silentLogger, () => now);
  usage.add('alice', 5);
  now = FEBRUARY;
  expect(usage.usedBy('alice')).toBe(0);
  usage.add('alice', 3);
  await usage.close();
  expect((await readUsage(state, FEBRUARY)).bytes.get('alice')).toBe(3);
  expect((await readUsage(state, Date.UTC(2026, 2, 1))).bytes.size).toBe(0);
});

it('writes the first count soon, and those that follow no more than every ten seconds', async () => {
  const state = await stateDir();
  const usage = await openUsage(state, silentLogger, () => JANUARY);
  usage.add('alice', 1);
  const written = () => readFile(state.pathOf('usage.json'), 'utf8').catch(() => '');
  await vi.waitFor(async () => expect(await written()).toContain('"alice":1'));
  const signature = await state.signature('usage.json');
  for (let turn = 0; turn < 100; turn++) {
    usage.add('alice', 1);
    await new Promise(setImmediate);
  }
  expect(await state.signature('usage.json')).toBe(signature);
  await usage.close();
  expect(await written()).toContain('"alice":101');
});

it.each([
  '',
  'null',
  '[]',
  '{"month":"2026-01"}',
  '{"month":"2026-01","bytes":{"alice":-1}}',
  '{"month":"2026-01","bytes":null}',
])('takes what it cannot understand (%s) for no counts', async (text) => {
  const state = await stateDir();
  await writeFile(state.pathOf('usage.json'), text);
  expect((await readUsage(state, JANUARY)).bytes.size).toBe(0);
});
