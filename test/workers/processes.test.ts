/** @module-tag waits */
import cluster from 'node:cluster';
import { writeFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { silentLogger } from '../../src/observability/logger.ts';
import type { WorkerEvent } from '../../src/workers/messages.ts';
import { WorkerProcesses } from '../../src/workers/processes.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const WORKER = `
const { id } = JSON.parse(process.env.WSTUN_WORKER);
process.on('message', ({ note }) => {
  if (note === 'close') process.exit(0);
  if (note === 'reload') process.send({ note: 'event', event: { event: 'config', id } });
});
process.send({ note: 'started' });
process.send({ note: 'ready', ready: process.pid });`;

/** Whatever this process starts by node:cluster. */
async function useScript(): Promise<void> {
  const script = `${await tempDir()}/worker.mjs`;
  await writeFile(script, WORKER);
  cluster.setupPrimary({ exec: script, execArgv: [] });
}

it('a worker that cannot be started for want of processes is tried again, and the others serve on', async () => {
  await useScript();
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

it('what all workers say of themselves is said once, by another one where the first has died', async () => {
  await useScript();
  const events: WorkerEvent[] = [];
  const onEvent = (event: WorkerEvent): void => void events.push(event);
  const options = { count: 2, passed: [], logger: silentLogger, onChange() {}, onEvent };
  const workers = new WorkerProcesses(options);
  const pid = Number(await workers.start());
  await until(() => workers.serving === 2);
  workers.reload();
  await until(() => events.length > 0);
  // Each has answered.
  await workers.reports('status', 500);
  expect(events.splice(0)).toEqual([{ event: 'config', id: '0001' }]);
  process.kill(pid, 'SIGKILL');
  await until(() => workers.serving === 1);
  workers.reload();
  await until(() => events.length > 0);
  expect(events).toEqual([{ event: 'config', id: '0101' }]);
  await workers.close(0);
});
