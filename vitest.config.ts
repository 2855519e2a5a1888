import { defineConfig } from 'vitest/config';

const builds = './test/support/build-dist.ts';

export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 30_000,
    reporters: process.env.CI ? ['dot', './test/support/count-reporter.ts'] : ['default'],
    maxWorkers: 2,
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
      {
        // Whole programs.
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: builds,
          fileParallelism: false,
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
