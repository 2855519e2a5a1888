import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Logger } from '../../src/observability/logger.ts';
import { loadKnownExits } from '../../src/state/known-exits.ts';
import { openStateDir } from '../../src/state/state-dir.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const key = (): string => randomBytes(32).toString('base64url');

async function setUp() {
  const state = await openStateDir(join(await tempDir(), 'state'));
  const warnings: string[] = [];
  const logger: Logger = { debug() {}, info() {}, warn: (_fields, message) => void warnings.push(message), error() {} };
  return { warnings, file: join(state.path, 'exits.json'), load: () => loadKnownExits(state, logger) };
}

describe('KnownExits', () => {
  it('KnownExits is empty at first, and is restored as it was last set', async () => {
    const { load } = await setUp();
    const known = await load();
    expect(known.exits.size).toBe(0);
    const [a, b, c] = [key(), key(), key()];
    known.set('home', [a]);
    known.set('shed', [b]);
    known.set('home', [a, c]);
    known.set('shed', []);
    await known.close();
    expect(new Map((await load()).exits)).toEqual(new Map([['home', [a, c]]]));
  });

  it('KnownExits writes at most once a second, and everything in the end', async () => {
    const { load, file } = await setUp();
    const known = await load();
    known.set('home', [key()]);
    await until(() => existsSync(file));
    const first = await readFile(file, 'utf8');
    for (let i = 0; i < 100; i++) {
      known.set('shed', [key()]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await readFile(file, 'utf8')).toBe(first);
    await known.close();
    expect(new Map((await load()).exits)).toEqual(new Map(known.exits));
  });

  it('KnownExits keeps at most 50,000 keys, so that the file can be read again', async () => {
    const { load } = await setUp();
    const known = await load();
    const keys = Array.from({ length: 10_000 }, () => 'A'.repeat(43));
    for (let i = 0; i < 7; i++) known.set(`exit${i}`, keys);
    await known.close();
    expect([...(await load()).exits.keys()]).toEqual(['exit0', 'exit1', 'exit2', 'exit3', 'exit4']);
  });

  it.each(['', '{', 'null', '[]7', '{"home":7}', '{"home":["x"]}', '{"a b":[]}', '{"home":[7]}'])(
    'KnownExits logs a damaged file (%j), and treats it as empty',
    async (text) => {
      const { load, file, warnings } = await setUp();
      await writeFile(file, text);
      expect((await load()).exits.size).toBe(0);
      expect(warnings).toHaveLength(1);
    },
  );

  it('KnownExits keeps in memory what it cannot write, and logs that', async () => {
    const { load, file, warnings } = await setUp();
    const known = await load();
    await mkdir(join(file, 'in-the-way'), { recursive: true });
    known.set('home', [key()]);
    await known.close();
    expect(warnings).toEqual([expect.stringContaining('WSTUN-E111')]);
    await rm(file, { recursive: true });
    known.set('shed', [key()]);
    await known.close();
    expect(Object.keys(JSON.parse(await readFile(file, 'utf8')))).toEqual(['home', 'shed']);
    expect(known.exits.size).toBe(2);
  });
});
