import { mkdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises';
import { expect, it, vi } from 'vitest';
import { WstunError } from '../../src/errors.ts';
import { type Logger, silentLogger } from '../../src/observability/logger.ts';
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

it('goes back to a month before where the clock was far ahead, and not where it is put right by a little', async () => {
  const state = await stateDir();
  let now = Date.UTC(2030, 0, 5);
  const usage = await openUsage(state, silentLogger, () => now);
  usage.add('alice', 5);
  now = FEBRUARY;
  expect(usage.usedBy('alice')).toBe(0);
  usage.add('alice', 3);
  now = JANUARY;
  expect(usage.usedBy('alice')).toBe(3);
  await usage.close();
  expect((await readUsage(state, FEBRUARY)).bytes.get('alice')).toBe(3);
});

const usedOnDisk = async (state: StateDir) => (await readUsage(state, JANUARY)).bytes.get('alice');
/** docs/operations.md: by which one process knows what another has counted. */
const PROMISED = { timeout: 2_000 };

it('adds up what several count in one file, and each soon knows what the others have', async () => {
  const state = await stateDir();
  const [one, other] = await Promise.all([1, 2].map(() => openUsage(state, silentLogger, () => JANUARY)));
  if (one === undefined || other === undefined) throw new Error('unreachable');
  one.add('alice', 1);
  other.add('alice', 20);
  other.add('bob', 7);
  await expect
    .poll(() => [one.usedBy('alice'), other.usedBy('alice'), one.usedBy('bob')], PROMISED)
    .toEqual([21, 21, 7]);
  expect(await usedOnDisk(state)).toBe(21);
  // Also when both have counted for long, and neither has just begun.
  for (let turn = 0; turn < 2; turn++) {
    one.add('alice', 100);
    other.add('alice', 1_000);
    await expect.poll(() => one.usedBy('alice') === other.usedBy('alice'), PROMISED).toBe(true);
  }
  await Promise.all([one.close(), other.close()]);
  expect(await usedOnDisk(state)).toBe(2_221);
});

it('adds what it has counted at its end, whatever others have written last', async () => {
  const state = await stateDir();
  const usages = await Promise.all(Array.from({ length: 5 }, () => openUsage(state, silentLogger, () => JANUARY)));
  for (const [at, usage] of usages.entries()) usage.add('alice', 10 ** at);
  await Promise.all(usages.map((usage) => usage.close()));
  expect(await usedOnDisk(state)).toBe(11_111);
});

it('has on disk what was counted ten seconds ago', async () => {
  const state = await stateDir();
  const usage = await openUsage(state, silentLogger, () => JANUARY);
  usage.add('alice', 1);
  await expect.poll(() => usedOnDisk(state)).toBe(1);
  usage.add('alice', 1);
  await expect.poll(() => usedOnDisk(state), { timeout: 10_500 }).toBe(2);
  await usage.close();
});

it.each(['', '{"month":"2026-01","bytes":{}}'])(
  'restores what it knows where the file says less (%s)',
  async (text) => {
    const state = await stateDir();
    const usage = await openUsage(state, silentLogger, () => JANUARY);
    usage.add('alice', 5);
    await expect.poll(() => usedOnDisk(state)).toBe(5);
    await writeFile(state.pathOf('usage.json'), text);
    usage.add('alice', 1);
    await usage.close();
    expect(await usedOnDisk(state)).toBe(6);
  },
);

it('keeps what it cannot write, says so once, and writes it when it can', async () => {
  const state = await stateDir();
  const warn = vi.fn();
  const usage = await openUsage(state, { ...silentLogger, warn } as Logger, () => JANUARY);
  await mkdir(state.pathOf('usage.json'));
  usage.add('alice', 5);
  await expect.poll(() => warn.mock.calls.length, PROMISED).toBe(1);
  usage.add('alice', 1);
  expect(usage.usedBy('alice')).toBe(6);
  await rmdir(state.pathOf('usage.json'));
  await usage.close();
  expect(await usedOnDisk(state)).toBe(6);
  expect(warn.mock.calls).toMatchObject([[{ code: 'WSTUN-E111' }, expect.stringContaining('usage.json')]]);
});

it('does not write over what others have counted, and it could not read', async () => {
  const state = await stateDir();
  const usage = await openUsage(state, silentLogger, () => JANUARY);
  const read = vi.spyOn(state, 'read').mockRejectedValueOnce(new WstunError('state-unusable', 'EMFILE'));
  await state.write('usage.json', '{"month":"2026-01","bytes":{"alice":7}}');
  await expect.poll(() => read.mock.calls.length, PROMISED).toBeGreaterThan(0);
  usage.add('alice', 1);
  await usage.close();
  expect(await usedOnDisk(state)).toBe(8);
});

it('counts once what a write has brought into the file although it failed', async () => {
  const state = await stateDir();
  const warn = vi.fn();
  const usage = await openUsage(state, { ...silentLogger, warn } as Logger, () => JANUARY);
  const write = state.write.bind(state);
  vi.spyOn(state, 'write').mockImplementationOnce(async (name, text) => {
    await write(name, text);
    throw new WstunError('state-unusable', 'the directory could not be synced');
  });
  usage.add('alice', 5);
  await expect.poll(() => warn.mock.calls.length, PROMISED).toBe(1);
  usage.add('alice', 1);
  await usage.close();
  expect(await usedOnDisk(state)).toBe(6);
});

it('writes the first count soon, and those that follow no more than every ten seconds', async () => {
  const state = await stateDir();
  const usage = await openUsage(state, silentLogger, () => JANUARY);
  usage.add('alice', 1);
  const written = () => readFile(state.pathOf('usage.json'), 'utf8').catch(() => '');
  await vi.waitFor(async () => expect(await written()).toContain('"alice":1'));
  const looks = vi.spyOn(state, 'signature');
  const writes = vi.spyOn(state, 'write');
  usage.add('alice', 100);
  await expect.poll(() => looks.mock.calls.length, { timeout: 5_000 }).toBeGreaterThan(3);
  expect(writes).not.toHaveBeenCalled();
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
