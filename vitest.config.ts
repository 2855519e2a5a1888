import { defineConfig } from 'vitest/config';
import { forkPool } from './test/support/fork-pool.ts';
import { LongFirst } from './test/support/long-first.ts';
import { isOther, isThere, NEWEST_LINE, nodeProgram } from './test/support/other-nodes.ts';
import { ownNetwork } from './test/support/own-network.ts';

const builds = './test/support/build-dist.ts';

/** What is of bytes, memory and event loops, in which releases of Node differ. */
const ON_NEWEST = [
  ...['memory', 'mux', 'protocol', 'crypto', 'transport', 'tunnel'].map((folder) => `test/${folder}/**/*.test.ts`),
  'test/exit/read-buffers.test.ts',
  'test/proxy/http-memory.test.ts',
];
/** Long, and of cuts and links, in which releases hardly differ. */
const NOT_ON_NEWEST = ['test/tunnel/cut-sweep.test.ts', 'test/tunnel/two-ways.test.ts'];
/** `npm test` runs these on the newest Node, too: about a minute on two cores. Who runs one file wants it once. */
const isWanted = process.env.WSTUN_NODES !== undefined;
/** install-nodes.sh says it; where CI is set, a folder fails for all. */
const isMissing = !isThere(NEWEST_LINE);
const isOnNewest = isWanted && (isMissing ? process.env.CI !== undefined : isOther(NEWEST_LINE));

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
    setupFiles: './test/support/poisoned.ts',
    hookTimeout: 30_000,
    reporters: process.env.CI ? ['dot', './test/support/count-reporter.ts'] : ['default'],
    // More than the two cores of the smallest machine: most of what is tested waits, for a limit or for another
    // process.
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
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
        // Whole programs, which mostly wait for each other. Beside another file only where each has a network of its
        // own.
        extends: true,
        test: {
          name: 'e2e',
          // Each program that a test starts takes a second or more where three files run at once.
          testTimeout: 60_000,
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: builds,
          setupFiles: ['./test/support/poisoned.ts', './test/support/poisoned-programs.ts'],
          ...(ownNetwork ? { pool: ownNetwork } : { maxWorkers: 1 }),
          sequence: { groupOrder: 2 },
        },
      },
      {
        // Their speeds, and their memory: one file at a time, when nothing else runs.
        extends: true,
        test: {
          name: 'figures',
          include: ['test/figures/**/*.test.ts'],
          globalSetup: builds,
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
