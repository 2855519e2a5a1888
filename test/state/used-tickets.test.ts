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
import { advanceUntil } from '../support/time/advance-until.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';
import { until } from '../support/until.ts';

const HOUR = 3_600_000;
const NOW = 1_800_000_000_000;

const clockAt = (wallTime: number): VirtualClock => new VirtualClock({ wallTime });

interface Process {
  readonly memory: ReplayGuard;
  readonly used: UsedTickets;
}

async function newState(): Promise<StateDir> {
  return await openStateDir(join(await tempDir(), 'state'));
}

async function startIn(state: StateDir, clock = clockAt(NOW), logger = silentLogger): Promise<Process> {
  const memory = new ReplayGuard();
  const used = await openUsedTickets(state, memory, logger, clock);
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
  it('used tickets are known to the next process, minutes and hours later', async () => {
    const state = await newState();
    const first = await startIn(state);
    const nonces = use(first, NOW, 3_000);
    await first.used.close();
    const second = await startIn(state, clockAt(NOW + 60_000));
    for (const nonce of nonces) expect(second.memory.wasUsed(nonce, 'opened')).toBe(true);
    await second.used.close();
    const third = await startIn(state, clockAt(NOW + 20 * HOUR));
    use(third, NOW + 20 * HOUR);
    for (const nonce of nonces) {
      expect(third.memory.wasUsed(nonce, 'opened')).toBe(false);
      expect(third.memory.wasUsedBefore(nonce, 'opened')).toBe(true);
    }
  });

  it('used tickets are known within a second to another process with the same directory', async () => {
    const state = await newState();
    const clock = clockAt(NOW);
    const [one, other] = [await startIn(state, clock), await startIn(state, clock)];
    const [nonce = Buffer.alloc(24)] = use(one);
    await advanceUntil(clock, () => other.memory.wasUsed(nonce, 'opened'), 1_000);
    const [back = Buffer.alloc(24)] = use(other);
    await advanceUntil(clock, () => one.memory.wasUsed(back, 'opened'), 1_000);
  });

  it('files of used tickets are only for their owner, hold no tickets, and are removed after a day', async () => {
    const state = await newState();
    const clock = clockAt(NOW);
    const first = await startIn(state, clock);
    const [nonce = Buffer.alloc(24)] = use(first);
    await first.used.close();
    const [name = ''] = await readdir(folderOf(state));
    expect((await stat(folderOf(state))).mode & 0o777).toBe(0o700);
    expect((await stat(join(folderOf(state), name))).mode & 0o777).toBe(0o600);
    const bytes = await readFile(join(folderOf(state), name));
    expect([bytes.length, bytes.includes(nonce), bytes.includes(nonce.subarray(0, 8))]).toEqual([12, false, true]);
    clock.setWallTime(NOW + 30 * HOUR);
    const second = await startIn(state, clock);
    await second.used.close();
    expect(await readdir(folderOf(state))).toEqual([]);
  });

  it('used tickets after a record that a crash has cut are still known', async () => {
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

  it('used tickets from a clock that was ahead are known, and displace none of today', async () => {
    const state = await newState();
    const first = await startIn(state, clockAt(NOW + 10 * HOUR));
    const [ahead = Buffer.alloc(24)] = use(first, NOW + 10 * HOUR);
    await first.used.close();
    const second = await startIn(state);
    const [today = Buffer.alloc(24)] = use(second);
    expect([ahead, today].map((nonce) => second.memory.wasUsed(nonce, 'opened'))).toEqual([true, true]);
  });

  it('used tickets that cannot be written are logged once, and stay known', async () => {
    const state = await newState();
    const { logger, lines } = collectingLogger();
    const clock = clockAt(NOW);
    const process = await startIn(state, clock, logger);
    const slot = String(Math.floor(NOW / (2 * HOUR)));
    // Where its file should be there is a directory.
    await (await openStateDir(folderOf(state))).subdirectory(slot);
    const nonces = use(process);
    await clock.advance(50);
    await until(() => lines.length > 0);
    use(process);
    await process.used.close();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 40, code: 'WSTUN-E111' });
    expect(process.memory.wasUsed(nonces[0] ?? Buffer.alloc(24), 'opened')).toBe(true);
    // What was not written may be unknown to the next process: nothing is proved to tickets of that time.
    expect(process.memory.pastSince).toBe(NOW + 50);
  });

  it('a damaged file of used tickets has no effect on new tickets', async () => {
    const state = await newState();
    const folder = await state.subdirectory('used-tickets');
    await writeFile(folder.pathOf(String(Math.floor(NOW / (2 * HOUR)))), randomBytes(12 * 1_000 + 5));
    await writeFile(folder.pathOf('notes.txt'), 'not ours');
    const process = await startIn(state);
    const [nonce = Buffer.alloc(24)] = use(process);
    expect(process.memory.wasUsed(nonce, 'opened')).toBe(true);
    expect(process.memory.wasUsed(randomBytes(24), 'opened')).toBe(false);
  });

  it('used tickets beyond a million are not read at the start, and nothing is proved to tickets of their time', async () => {
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
    const used = await openUsedTickets(state, memory, silentLogger, clockAt(NOW));
    onTestFinished(() => used.close());
    const old = restoredAt.filter((at) => at < NOW).length;
    expect([restoredAt.length, old]).toEqual([1_048_576, 48_576]);
    expect(memory.pastSince).toBe(slot * 2 * HOUR);
  });

  it('used tickets have no file before the first', async () => {
    const state = await newState();
    const { used } = await startIn(state);
    await used.close();
    expect(await readdir(folderOf(state))).toEqual([]);
  });
});
