/** @module-tag waits */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startNats, urlsOf } from '../support/programs/nats.ts';
import { startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';

/** The files that a relay has loaded, as V8 tells when the process ends. */
async function loadedBy(args: readonly string[]): Promise<readonly string[]> {
  const coverage = await tempDir();
  const { process } = await startRelay({ args, env: { NODE_V8_COVERAGE: coverage } });
  process.signal('SIGTERM');
  expect(await process.exited).toBe(0);
  const reports = await Promise.all((await readdir(coverage)).map((name) => readFile(join(coverage, name), 'utf8')));
  return reports.flatMap((text) => (JSON.parse(text) as { result: { url: string }[] }).result.map(({ url }) => url));
}

const OF_NATS = /nats/i;

it('a relay without --cluster loads no code of NATS, and one with it does', { timeout: 120_000 }, async () => {
  const alone = await loadedBy([]);
  expect(alone.length).toBeGreaterThan(20);
  expect(alone.filter((url) => OF_NATS.test(url))).toEqual([]);
  const cluster = ['--cluster', urlsOf(await startNats()), '--url', 'ws://127.0.0.1:1'];
  expect((await loadedBy(cluster)).some((url) => OF_NATS.test(url))).toBe(true);
});
