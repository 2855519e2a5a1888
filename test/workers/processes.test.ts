/** @module-tag waits */
import cluster from 'node:cluster';
import { writeFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { silentLogger } from '../../src/observability/logger.ts';
import { WorkerProcesses } from '../../src/workers/processes.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const WORKER = `process.on('message', ({ note }) => note === 'close' && process.exit(0));
process.send({ note: 'ready', ready: process.pid });`;

it('a worker that cannot be started for want of processes is tried again, and the others serve on', async () => {
  const script = `${await tempDir()}/worker.mjs`;
  await writeFile(script, WORKER);
  cluster.setupPrimary({ exec: script, execArgv: [] });
  const { execPath } = process;
  atEnd(() => {
    process.execPath = execPath;
  });
  const states: string[] = [];
  const onChange = (worker: number, state: string): void => void states.push(`${worker} ${state}`);
  const workers = new WorkerProcesses({ count: 2, passed: [], logger: silentLogger, onChange });
  const pid = Number(await workers.start());
  await until(() => workers.serving === 2);
  process.execPath = '/none';
  process.kill(pid, 'SIGKILL');
  await until(() => states.filter((state) => state === '0 died').length >= 2);
  expect(workers.serving).toBe(1);
  process.execPath = execPath;
  await until(() => workers.serving === 2);
  await workers.close(0);
  expect(states.at(-1)).toBe('0 serving');
});

it('workers that cannot be started at all are said to be that', async () => {
  const { execPath } = process;
  atEnd(() => {
    process.execPath = execPath;
  });
  process.execPath = '/none';
  const workers = new WorkerProcesses({ count: 2, passed: [], logger: silentLogger, onChange() {} });
  await expect(workers.start()).rejects.toThrow('ENOENT');
});
