import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { forkPool } from './test/support/vitest/fork-pool.ts';
import { LongFirst } from './test/support/vitest/long-first.ts';
import { isOther, isThere, NEWEST_LINE, nodeProgram } from './test/support/vitest/other-nodes.ts';
import { ownNetwork } from './test/support/vitest/own-network.ts';

const builds = './test/support/vitest/build-dist.ts';

/**
 * Most of what is tested waits, for a limit or for another process: three files more than there are cores keep two
 * cores busy.
 */
const WORKERS = availableParallelism() + 3;

/** What is of bytes, memory and event loops, in which releases of Node differ. */
const ON_NEWEST = [
  ...['memory', 'mux', 'protocol', 'crypto', 'transport', 'tunnel'].map((folder) => `test/${folder}/**/*.test.ts`),
  'test/exit/read-buffers.test.ts',
  'test/proxy/http-memory.test.ts',
];
/** Long, and of cuts and links, in which releases hardly differ. */
const NOT_ON_NEWEST = ['test/tunnel/cut-sweep.test.ts', 'test/tunnel/two-ways.test.ts'];
/** `npm test` runs these on the newest Node, too. Who runs one file wants it once. */
const isWanted = process.env.WSTUN_NODES !== undefined;
/** install-nodes.sh says it; where CI is set, a folder fails for all. */
const isMissing = !isThere(NEWEST_LINE);
const isOnNewest = isWanted && (isMissing ? process.env.CI !== undefined : isOther(NEWEST_LINE));

/** Bounds of memory, and of time with room for a busy machine: these files may run beside others. */
const BESIDE = ['bad-input', 'bulk', 'entry-limits', 'idle-sessions', 'resume', 'stalled-memory', 'tether-memory'].map(
  (name) => `test/figures/${name}.test.ts`,
);

/**
 * Files that change their network, give a port back to take it again, or use up thousands of them. They run beside
 * others where each has a network of its own, else one after the other.
 */
const inOwnNetwork = ownNetwork
  ? { pool: ownNetwork, sequence: { groupOrder: 1 } }
  : { maxWorkers: 1, sequence: { groupOrder: 2 } };

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
    testTimeout: 20_000,
    setupFiles: './test/support/memory/poisoned.ts',
    hookTimeout: 30_000,
    reporters: process.env.CI ? ['dot', './test/support/vitest/count-reporter.ts'] : ['default'],
    maxWorkers: WORKERS,
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
          exclude: ['test/e2e/**', 'test/figures/**'],
          sequence: { groupOrder: 1 },
        },
      },
      ...(isOnNewest ? [onNewest] : []),
      {
        extends: true,
        test: {
          name: 'e2e',
          // A program that a test starts takes a second or more on a busy machine.
          testTimeout: 60_000,
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: builds,
          setupFiles: ['./test/support/memory/poisoned.ts', './test/support/programs/poisoned-programs.ts'],
          ...inOwnNetwork,
        },
      },
      {
        extends: true,
        test: {
          name: 'figures-beside',
          testTimeout: 60_000,
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
