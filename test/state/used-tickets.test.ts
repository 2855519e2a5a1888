import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ReplayGuard } from '../../src/crypto/replay-guard.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { openStateDir, type StateDir } from '../../src/state/state-dir.ts';
import { openUsedTickets, type UsedTickets } from '../../src/state/used-tickets.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const HOUR = 3_600_000;
const NOW = 1_800_000_000_000;

interface Process {
  readonly memory: ReplayGuard;
  readonly used: UsedTickets;
}

async function newState(): Promise<StateDir> {
  return await openStateDir(join(await tempDir(), 'state'));
}

async function startIn(state: StateDir, now: () => number = () => NOW, logger = silentLogger): Promise<Process> {
  const memory = new ReplayGuard();
  const used = await openUsedTickets(state, memory, logger, now);
  onTestFinished(() => used.close());
  return { memory, used };
}

function use({ memory }: Process, now = NOW, count = 1): Buffer[] {
  const nonces = Array.from({ length: count }, () => randomBytes(24));
  for (const nonce of nonces) memory.remember(nonce, 'opened', 'alice', now);
  return nonces;
}

const folderOf = (state: StateDir): string => state.pathOf('used-tickets');

describe('used tickets', () => {
  it('are known to the next process, minutes and hours later', async () => {
    const state = await newState();
    const first = await startIn(state);
    const nonces = use(first, NOW, 3_000);
    await first.used.close();
    const second = await startIn(state, () => NOW + 60_000);
    for (const nonce of nonces) expect(second.memory.wasUsed(nonce, 'opened')).toBe(true);
    await second.used.close();
    const third = await startIn(state, () => NOW + 20 * HOUR);
    use(third, NOW + 20 * HOUR);
    for (const nonce of nonces) {
      expect(third.memory.wasUsed(nonce, 'opened')).toBe(false);
      expect(third.memory.wasUsedBefore(nonce, 'opened')).toBe(true);
    }
  });

  it('are known to a process that runs beside, within a second', async () => {
    const state = await newState();
    const [one, other] = [await startIn(state), await startIn(state)];
    const [nonce = Buffer.alloc(24)] = use(one);
    await until(() => other.memory.wasUsed(nonce, 'opened'));
    const [back = Buffer.alloc(24)] = use(other);
    await until(() => one.memory.wasUsed(back, 'opened'));
  });

  it('lie in files for their owner alone, which hold no tickets, and go after a day', async () => {
    const state = await newState();
    let now = NOW;
    const first = await startIn(state, () => now);
    const [nonce = Buffer.alloc(24)] = use(first);
    await first.used.close();
    const [name = ''] = await readdir(folderOf(state));
    expect((await stat(folderOf(state))).mode & 0o777).toBe(0o700);
    expect((await stat(join(folderOf(state), name))).mode & 0o777).toBe(0o600);
    const bytes = await readFile(join(folderOf(state), name));
    expect([bytes.length, bytes.includes(nonce), bytes.includes(nonce.subarray(0, 8))]).toEqual([12, false, true]);
    now += 30 * HOUR;
    const second = await startIn(state, () => now);
    await second.used.close();
    expect(await readdir(folderOf(state))).toEqual([]);
  });

  it('behind a record that a crash cut are known all the same', async () => {
    const state = await newState();
    const first = await startIn(state);
    const [kept = Buffer.alloc(24)] = use(first, NOW, 2);
    await first.used.close();
    const [name = ''] = await readdir(folderOf(state));
    await truncate(join(folderOf(state), name), 17);
    const second = await startIn(state);
    const [later = Buffer.alloc(24)] = use(second);
    await second.used.close();
    const third = await startIn(state);
    expect([kept, later].map((nonce) => third.memory.wasUsed(nonce, 'opened'))).toEqual([true, true]);
  });

  it('of a clock that was ahead then are known, and push out none of today', async () => {
    const state = await newState();
    const first = await startIn(state, () => NOW + 10 * HOUR);
    const [ahead = Buffer.alloc(24)] = use(first, NOW + 10 * HOUR);
    await first.used.close();
    const second = await startIn(state);
    const [today = Buffer.alloc(24)] = use(second);
    expect([ahead, today].map((nonce) => second.memory.wasUsed(nonce, 'opened'))).toEqual([true, true]);
  });

  it('that cannot be written are told of once, and the relay goes on', async () => {
    const state = await newState();
    const { logger, lines } = collectingLogger();
    const process = await startIn(state, () => NOW, logger);
    const slot = String(Math.floor(NOW / (2 * HOUR)));
    // Where its file should be there is a directory.
    await (await openStateDir(folderOf(state))).subdirectory(slot);
    const nonces = use(process);
    await until(() => lines.length > 0);
    use(process);
    await process.used.close();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 40, code: 'WSTUN-E111' });
    expect(process.memory.wasUsed(nonces[0] ?? Buffer.alloc(24), 'opened')).toBe(true);
    // What was not written may be unknown to the next process: nothing is proved to tickets of that time.
    expect(process.memory.pastSince).toBe(NOW);
  });

  it('of a file of garbage are none, and harm nobody', async () => {
    const state = await newState();
    const folder = await state.subdirectory('used-tickets');
    await writeFile(folder.pathOf(String(Math.floor(NOW / (2 * HOUR)))), randomBytes(12 * 1_000 + 5));
    await writeFile(folder.pathOf('notes.txt'), 'not ours');
    const process = await startIn(state);
    const [nonce = Buffer.alloc(24)] = use(process);
    expect(process.memory.wasUsed(nonce, 'opened')).toBe(true);
    expect(process.memory.wasUsed(randomBytes(24), 'opened')).toBe(false);
  });

  it('beyond a million are not read: a start takes no longer for them, and proves nothing of their time', async () => {
    const state = await newState();
    const folder = await state.subdirectory('used-tickets');
    const slot = Math.floor(NOW / (2 * HOUR));
    const records = (count: number, at: number): Buffer => {
      const bytes = randomBytes(12 * count);
      for (let i = 0; i < bytes.length; i += 12) bytes.writeUInt32BE(at / 1000, i);
      return bytes;
    };
    await writeFile(folder.pathOf(String(slot - 1)), records(100_000, NOW - HOUR));
    await writeFile(folder.pathOf(String(slot)), records(1_000_000, NOW));
    const restoredAt: number[] = [];
    class Counting extends ReplayGuard {
      override restore(_fingerprint: unknown, at: number): void {
        restoredAt.push(at);
      }
    }
    const memory = new Counting();
    const used = await openUsedTickets(state, memory, silentLogger, () => NOW);
    onTestFinished(() => used.close());
    const old = restoredAt.filter((at) => at < NOW).length;
    expect([restoredAt.length, old]).toEqual([1_048_576, 48_576]);
    expect(memory.pastSince).toBe(slot * 2 * HOUR);
  });

  it('make no file until there is one', async () => {
    const state = await newState();
    const { used } = await startIn(state);
    await used.close();
    expect(await readdir(folderOf(state))).toEqual([]);
  });
});
