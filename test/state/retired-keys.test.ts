import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createIdentity, formatPublicIdentity, type Identity } from '../../src/crypto/keys.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { loadIdentity, loadOrCreateIdentity, watchIdentity } from '../../src/state/identity-file.ts';
import { readRetiredKeys, rotateKeys } from '../../src/state/retired-keys.ts';
import { openStateDir } from '../../src/state/state-dir.ts';
import { faultOfPromise } from '../support/faults.ts';
import { tempDir } from '../support/temp-dir.ts';
import { advanceUntil } from '../support/time/advance-until.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const NOW = Date.UTC(2026, 0, 1);
const MONTH_MS = 30 * 86_400_000;
const alice = { name: 'alice', role: 'client', key: createIdentity().public } as const;
const home = { name: 'home', role: 'exit', key: createIdentity().public } as const;

async function setUp() {
  const state = await openStateDir(join(await tempDir(), 'state'));
  const { identity } = await loadOrCreateIdentity(state);
  return { state, identity, file: join(state.path, 'retired.json') };
}

const keyOf = (identity: Identity | undefined): string => (identity ? formatPublicIdentity(identity.public) : '');

describe('rotateKeys', () => {
  it('rotateKeys replaces the keys, and keeps the old ones with their peers for 30 days', async () => {
    const { state, identity, file } = await setUp();
    const announced = Buffer.from(alice.key.gate).toString('base64url');
    await writeFile(join(state.path, 'exits.json'), JSON.stringify({ home: [announced] }));
    await rotateKeys(state, [alice, home], { now: NOW, forget: false });
    expect(keyOf(await loadIdentity(state))).not.toBe(keyOf(identity));
    const [old, ...more] = await readRetiredKeys(state, NOW + MONTH_MS - 1);
    expect(more).toEqual([]);
    expect(keyOf(old?.identity)).toBe(keyOf(identity));
    expect(old?.peers.map(({ name, role, key }) => [name, role, formatPublicIdentity(key)])).toEqual([
      ['alice', 'client', formatPublicIdentity(alice.key)],
      ['home', 'exit', formatPublicIdentity(home.key)],
    ]);
    expect(new Map(old?.exits)).toEqual(new Map([['home', [announced]]]));
    expect(await readRetiredKeys(state, NOW + MONTH_MS)).toEqual([]);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('rotateKeys keeps at most four old keys, the newest first, and none with `forget`', async () => {
    const { state } = await setUp();
    const rotated: string[] = [];
    for (let i = 0; i < 5; i++) {
      rotated.unshift(keyOf(await loadIdentity(state)));
      await rotateKeys(state, [alice], { now: NOW, forget: false });
    }
    const kept = await readRetiredKeys(state, NOW);
    expect(kept.map(({ identity }) => keyOf(identity))).toEqual(rotated.slice(0, 4));
    await rotateKeys(state, [alice], { now: NOW, forget: true });
    expect(await readRetiredKeys(state, NOW)).toEqual([]);
  });

  it('readRetiredKeys treats a damaged file as empty', async () => {
    const { state, file } = await setUp();
    await rotateKeys(state, [alice], { now: NOW, forget: false });
    const good = await readFile(file, 'utf8');
    for (const bad of [
      '',
      '{}',
      'null',
      '[1]',
      good.replace('wstunsk1_', 'wstunsk2_'),
      good.replace('wstunpk1_', 'x'),
    ]) {
      await writeFile(file, bad);
      expect(await readRetiredKeys(state, NOW)).toEqual([]);
    }
  });

  it('rotateKeys rejects a directory without keys', async () => {
    const state = await openStateDir(join(await tempDir(), 'state'));
    expect(await faultOfPromise(rotateKeys(state, [], { now: NOW, forget: false }))).toBe('state-unusable');
  });
});

describe('watchIdentity', () => {
  it('watchIdentity reports another identity, and neither a touched nor a damaged file', async () => {
    const { state, identity } = await setUp();
    const file = join(state.path, 'identity.key');
    const text = await readFile(file, 'utf8');
    let changes = 0;
    const faults: string[] = [];
    const logger = { ...silentLogger, error: (_fields: object, message: string) => void faults.push(message) };
    const clock = new VirtualClock();
    const watch = watchIdentity(state, identity, async () => void changes++, logger, clock);
    onTestFinished(() => watch.close());
    await writeFile(file, text);
    await rotateKeys(state, [], { now: NOW, forget: false });
    // docs/operations.md: a rotation takes effect within two seconds.
    await advanceUntil(clock, () => changes === 1, 2_000);
    await writeFile(file, 'damaged');
    await advanceUntil(clock, () => faults.length === 1, 2_000);
    expect(faults[0]).toContain('WSTUN-E112');
    await writeFile(file, text);
    await advanceUntil(clock, () => changes === 2, 2_000);
  });
});
