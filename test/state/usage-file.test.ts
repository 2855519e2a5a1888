import { mkdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises';
import { expect, it, vi } from 'vitest';
import { WstunError } from '../../src/errors.ts';
import { type Logger, silentLogger } from '../../src/observability/logger.ts';
import { openStateDir, type StateDir } from '../../src/state/state-dir.ts';
import { openUsage, readUsage } from '../../src/state/usage-file.ts';
import { tempDir } from '../support/temp-dir.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';
import { until } from '../support/until.ts';

const JANUARY = Date.UTC(2026, 0, 31, 23, 59, 59, 999);
const MID_JANUARY = Date.UTC(2026, 0, 15);
const FEBRUARY = Date.UTC(2026, 1, 1);

async function stateDir(): Promise<StateDir> {
  const path = await tempDir();
  return openStateDir(path);
}

class UsageClock extends VirtualClock {
  /**
   * Before each step, and at the end, all access to the disk is done: each open usage file waits for its timer then.
   * @param files open on this clock
   */
  async pass(ms: number, files = 1): Promise<void> {
    for (let passedMs = 0; passedMs < ms; passedMs += STEP_MS) {
      await until(() => this.timers === files);
      await this.advance(STEP_MS);
    }
    await until(() => this.timers === files);
  }
}

const STEP_MS = 50;
const clockAt = (wallTime: number): UsageClock => new UsageClock({ wallTime });

it('the usage file keeps counts by name over a restart, and only its owner can read it', async () => {
  const state = await stateDir();
  const clock = clockAt(JANUARY);
  const usage = await openUsage(state, silentLogger, clock);
  usage.add('alice', 5);
  usage.add('bob', 7);
  usage.add('alice', 6);
  await usage.close();
  expect((await stat(state.pathOf('usage.json'))).mode & 0o777).toBe(0o600);
  const again = await openUsage(state, silentLogger, clock);
  expect([again.usedBy('alice'), again.usedBy('bob'), again.usedBy('carol')]).toEqual([11, 7, 0]);
});

it('the usage file starts from 0 with each month of UTC, while it is open and when it is opened', async () => {
  const state = await stateDir();
  const clock = clockAt(JANUARY);
  const usage = await openUsage(state, silentLogger, clock);
  usage.add('alice', 5);
  clock.setWallTime(FEBRUARY);
  expect(usage.usedBy('alice')).toBe(0);
  usage.add('alice', 3);
  await usage.close();
  expect((await readUsage(state, FEBRUARY)).bytes.get('alice')).toBe(3);
  expect((await readUsage(state, Date.UTC(2026, 2, 1))).bytes.size).toBe(0);
});

it('the usage file keeps over months when each name last used anything, for 400 days, and reads files without that', async () => {
  const state = await stateDir();
  await writeFile(state.pathOf('usage.json'), '{"month":"2026-01","bytes":{"alice":5}}', { mode: 0o600 });
  expect((await readUsage(state, JANUARY)).lastUsed.size).toBe(0);
  const use = async (name: string, now: number) => {
    const usage = await openUsage(state, silentLogger, clockAt(now));
    usage.add(name, 3);
    await usage.close();
  };
  await use('alice', MID_JANUARY);
  await use('bob', FEBRUARY);
  const { bytes, lastUsed } = await readUsage(state, FEBRUARY);
  expect([[...bytes], [...lastUsed]]).toEqual([
    [['bob', 3]],
    [
      ['alice', MID_JANUARY],
      ['bob', FEBRUARY],
    ],
  ]);
  const later = MID_JANUARY + 400 * 86_400_000;
  await use('carol', later);
  expect([...(await readUsage(state, later)).lastUsed.keys()]).toEqual(['bob', 'carol']);
  const damaged = '{"month":"2026-01","bytes":{"alice":5},"lastUsed":{"alice":9e15,"bob":"x","carol":7}}';
  await writeFile(state.pathOf('usage.json'), damaged);
  const read = await readUsage(state, JANUARY);
  expect([[...read.bytes], [...read.lastUsed]]).toEqual([[['alice', 5]], [['carol', 7]]]);
});

it('the usage file returns to an earlier month if the clock is set back by far, and not if by little', async () => {
  const state = await stateDir();
  const clock = clockAt(Date.UTC(2030, 0, 5));
  const usage = await openUsage(state, silentLogger, clock);
  usage.add('alice', 5);
  clock.setWallTime(FEBRUARY);
  expect(usage.usedBy('alice')).toBe(0);
  usage.add('alice', 3);
  clock.setWallTime(JANUARY);
  expect(usage.usedBy('alice')).toBe(3);
  await usage.close();
  expect((await readUsage(state, FEBRUARY)).bytes.get('alice')).toBe(3);
});

const usedOnDisk = async (state: StateDir) => (await readUsage(state, JANUARY)).bytes.get('alice');
/** docs/operations.md: after this one process knows what another has counted. */
const PROMISED_MS = 2_000;

it('two processes that count in one usage file add up, and each knows within two seconds what the other has', async () => {
  const state = await stateDir();
  const clock = clockAt(MID_JANUARY);
  const [one, other] = await Promise.all([1, 2].map(() => openUsage(state, silentLogger, clock)));
  if (one === undefined || other === undefined) throw new Error('unreachable');
  one.add('alice', 1);
  other.add('alice', 20);
  other.add('bob', 7);
  await clock.pass(PROMISED_MS, 2);
  expect([one.usedBy('alice'), other.usedBy('alice'), one.usedBy('bob')]).toEqual([21, 21, 7]);
  expect(await usedOnDisk(state)).toBe(21);
  // Also when both have counted for long, and neither has just begun.
  for (let turn = 0; turn < 2; turn++) {
    one.add('alice', 100);
    other.add('alice', 1_000);
    await clock.pass(PROMISED_MS, 2);
    expect(one.usedBy('alice')).toBe(other.usedBy('alice'));
  }
  await Promise.all([one.close(), other.close()]);
  expect(await usedOnDisk(state)).toBe(2_221);
});

it('the usage file adds what it has counted when it closes, whatever others have written before', async () => {
  const state = await stateDir();
  const clock = clockAt(JANUARY);
  const usages = await Promise.all(Array.from({ length: 5 }, () => openUsage(state, silentLogger, clock)));
  for (const [at, usage] of usages.entries()) usage.add('alice', 10 ** at);
  await Promise.all(usages.map((usage) => usage.close()));
  expect(await usedOnDisk(state)).toBe(11_111);
});

it('the usage file has on disk what was counted ten seconds ago', async () => {
  const state = await stateDir();
  const clock = clockAt(MID_JANUARY);
  const usage = await openUsage(state, silentLogger, clock);
  usage.add('alice', 1);
  await clock.pass(1_000);
  expect(await usedOnDisk(state)).toBe(1);
  usage.add('alice', 1);
  await clock.pass(10_000);
  expect(await usedOnDisk(state)).toBe(2);
  await usage.close();
});

it.each(['', '{"month":"2026-01","bytes":{}}'])(
  'the usage file restores what it knows if the file on disk says less (%s)',
  async (text) => {
    const state = await stateDir();
    const clock = clockAt(MID_JANUARY);
    const usage = await openUsage(state, silentLogger, clock);
    usage.add('alice', 5);
    await clock.pass(1_000);
    expect(await usedOnDisk(state)).toBe(5);
    await writeFile(state.pathOf('usage.json'), text);
    usage.add('alice', 1);
    await usage.close();
    expect(await usedOnDisk(state)).toBe(6);
  },
);

it('the usage file keeps what it cannot write, logs that once, and writes it when it can', async () => {
  const state = await stateDir();
  const clock = clockAt(MID_JANUARY);
  const warn = vi.fn();
  const usage = await openUsage(state, { ...silentLogger, warn } as Logger, clock);
  await mkdir(state.pathOf('usage.json'));
  usage.add('alice', 5);
  await clock.pass(PROMISED_MS);
  expect(warn).toHaveBeenCalledTimes(1);
  usage.add('alice', 1);
  expect(usage.usedBy('alice')).toBe(6);
  await rmdir(state.pathOf('usage.json'));
  await usage.close();
  expect(await usedOnDisk(state)).toBe(6);
  expect(warn.mock.calls).toMatchObject([[{ code: 'WSTUN-E111' }, expect.stringContaining('usage.json')]]);
});

it('the usage file does not overwrite what others have counted and it could not read', async () => {
  const state = await stateDir();
  const clock = clockAt(MID_JANUARY);
  const usage = await openUsage(state, silentLogger, clock);
  await clock.pass(0);
  const read = vi.spyOn(state, 'read').mockRejectedValueOnce(new WstunError('state-unusable', 'EMFILE'));
  await state.write('usage.json', '{"month":"2026-01","bytes":{"alice":7}}');
  await clock.pass(500);
  expect(read.mock.calls.length).toBeGreaterThan(0);
  usage.add('alice', 1);
  await usage.close();
  expect(await usedOnDisk(state)).toBe(8);
});

it('the usage file counts once what a write has stored although it failed', async () => {
  const state = await stateDir();
  const clock = clockAt(MID_JANUARY);
  const warn = vi.fn();
  const usage = await openUsage(state, { ...silentLogger, warn } as Logger, clock);
  const write = state.write.bind(state);
  vi.spyOn(state, 'write').mockImplementationOnce(async (name, text) => {
    await write(name, text);
    throw new WstunError('state-unusable', 'the directory could not be synced');
  });
  usage.add('alice', 5);
  await clock.pass(500);
  expect(warn).toHaveBeenCalledTimes(1);
  usage.add('alice', 1);
  await usage.close();
  expect(await usedOnDisk(state)).toBe(6);
});

it('the usage file writes the first count soon, and further counts at most every ten seconds', async () => {
  const state = await stateDir();
  const clock = clockAt(MID_JANUARY);
  const usage = await openUsage(state, silentLogger, clock);
  usage.add('alice', 1);
  const written = () => readFile(state.pathOf('usage.json'), 'utf8').catch(() => '');
  await clock.pass(1_000);
  expect(await written()).toContain('"alice":1');
  const checks = vi.spyOn(state, 'signature');
  const writes = vi.spyOn(state, 'write');
  usage.add('alice', 100);
  await clock.pass(8_000);
  expect(checks.mock.calls.length).toBeGreaterThan(3);
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
])('readUsage treats what it cannot parse (%s) as no counts', async (text) => {
  const state = await stateDir();
  await writeFile(state.pathOf('usage.json'), text);
  expect((await readUsage(state, JANUARY)).bytes.size).toBe(0);
});
