import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { PATIENCE } from './test/support/patience.ts';
import { forkPool } from './test/support/vitest/fork-pool.ts';
import { LongFirst } from './test/support/vitest/long-first.ts';
import { isOther, isThere, NEWEST_LINE, nodeProgram } from './test/support/vitest/other-nodes.ts';
import { ownNetwork } from './test/support/vitest/own-network.ts';

const builds = './test/support/vitest/build-dist.ts';

/** What a process of Node takes to start and end, ms: 40 on a machine on which it is not the cores that limit. */
function startMs(): number {
  const times = Array.from({ length: 3 }, () => {
    const since = performance.now();
    spawnSync(process.execPath, ['-e', '0']);
    return performance.now() - since;
  });
  return Math.min(...times);
}

/**
 * Most of what is tested waits, for a limit or for another process: three files more than there are cores keep two
 * cores busy. Slow cores are busy with one file more, and with three all would only wait for each other.
 */
process.env.WSTUN_TEST_WORKERS ??= String(availableParallelism() + (startMs() < 80 ? 3 : 1));
// Each project loads this file again, and two measurements could differ: then vitest runs nothing.
const WORKERS = Number(process.env.WSTUN_TEST_WORKERS);

/**
 * Rooms whose tests are pure, or nearly: bytes and virtual time. Their files share processes, for to start one and to
 * load vitest, fast-check and the room in it costs more than most of these files. None may leave anything behind: a
 * timer, a spy, a watcher of memory.
 */
const PURE = [
  ...['async', 'crypto', 'limits', 'net', 'observability'].map((folder) => `test/${folder}/**/*.test.ts`),
  // Without files that open sockets, count memory or replace modules.
  'test/cli/!(passed-sockets).test.ts',
  'test/exit/!(dialer|exit|read-buffers|resolver).test.ts',
  'test/mux/**/!(compliance).test.ts',
  'test/protocol/!(vectors).test.ts',
  'test/proxy/http1/*-head.test.ts',
];

/**
 * What is of memory, streams, sockets, event loops and node:crypto, in which releases of Node differ. Pure state
 * machines compute the same on all.
 */
const ON_NEWEST = [
  ...['memory', 'transport', 'tunnel'].map((folder) => `test/${folder}/**/*.test.ts`),
  ...['keys', 'noise', 'record-cipher', 'ticket', 'x25519'].map((name) => `test/crypto/${name}.test.ts`),
  'test/exit/read-buffers.test.ts',
  'test/mux/compliance.test.ts',
  'test/proxy/http-memory.test.ts',
];
/** In virtual time, of cuts, attacks and waits between dials. */
const NOT_ON_NEWEST = [
  ...['cut-sweep', 'malicious-relay', 'two-ways', 'dial/handshake', 'reconnect/*', 'session/open-queue'].map(
    (name) => `test/tunnel/${name}.test.ts`,
  ),
];
/** `npm test` runs these on the newest Node, too. Who runs one file wants it once. */
const isWanted = process.env.WSTUN_NODES !== undefined;
/** install-nodes.sh says it; where CI is set, a folder fails for all. */
const isMissing = !isThere(NEWEST_LINE);
const isOnNewest = isWanted && (isMissing ? process.env.CI !== undefined : isOther(NEWEST_LINE));

/** Bounds of memory, and of time with room for a busy machine: these files may run beside others. */
const BESIDE = ['bad-input', 'bulk', 'entry-limits', 'idle-sessions', 'stalled-memory', 'tether-memory'].map(
  (name) => `test/figures/${name}.test.ts`,
);

/**
 * Files that change their network, give a port back to take it again, or use up thousands of them. They run beside
 * others where each has a network of its own, else one after the other.
 */
const inOwnNetwork = ownNetwork
  ? { pool: ownNetwork, sequence: { groupOrder: 1 } }
  : { maxWorkers: 1, sequence: { groupOrder: 2 } };

/** Files of e2e/ that promise times of a person's wait: one at a time, when nothing else runs. */
const ALONE = ['test/e2e/doctor.test.ts'];

const e2e = {
  // A program that a test starts takes a second or more on a busy machine.
  testTimeout: 60_000 * PATIENCE,
  globalSetup: builds,
  setupFiles: ['./test/support/memory/poisoned.ts', './test/support/programs/poisoned-programs.ts'],
  ...inOwnNetwork,
};

const onNewest = {
  extends: true as const,
  test: {
    name: `parts-${NEWEST_LINE}`,
    include: isMissing ? ON_NEWEST.slice(0, 1) : ON_NEWEST,
    exclude: NOT_ON_NEWEST,
    pool: forkPool(`node-${NEWEST_LINE}`, { program: nodeProgram(NEWEST_LINE) }),
    sequence: { groupOrder: 1 },
  },
};

export default defineConfig({
  test: {
    testTimeout: 20_000 * PATIENCE,
    setupFiles: './test/support/memory/poisoned.ts',
    expect: { poll: { timeout: 10_000 * PATIENCE } },
    hookTimeout: 30_000 * PATIENCE,
    reporters: process.env.CI ? ['dot', './test/support/vitest/count-reporter.ts'] : ['default'],
    maxWorkers: WORKERS,
    // Kept in node_modules/.experimental-vitest-cache, by the content of each file: a seventh of a short file's time.
    experimental: { fsModuleCache: true },
    sequence: { sequencer: LongFirst },
    tags: [
      { name: 'waits', description: 'Starts a process, or waits for real time. Not part of `npm run test:unit`.' },
    ],
    projects: [
      {
        extends: true,
        test: {
          name: 'parts',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/figures/**', ...PURE],
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'parts-pure',
          include: PURE,
          isolate: false,
          sequence: { groupOrder: 1 },
        },
      },
      ...(isOnNewest ? [onNewest] : []),
      {
        extends: true,
        test: {
          name: 'e2e',
          ...e2e,
          include: ['test/e2e/**/*.test.ts'],
          exclude: ALONE,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e-alone',
          ...e2e,
          include: ALONE,
          fileParallelism: false,
          sequence: { groupOrder: 4 },
        },
      },
      {
        extends: true,
        test: {
          name: 'figures-beside',
          testTimeout: 60_000 * PATIENCE,
          include: BESIDE,
          globalSetup: builds,
          ...inOwnNetwork,
        },
      },
      {
        // Speeds, and costs of the processor: one file at a time, when nothing else runs.
        extends: true,
        test: {
          name: 'figures',
          include: ['test/figures/**/*.test.ts'],
          exclude: BESIDE,
          globalSetup: builds,
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
