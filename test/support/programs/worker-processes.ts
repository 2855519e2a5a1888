/** The processes of a relay with `--workers`: which there are, and when they serve. */
import { readdirSync, readFileSync } from 'node:fs';
import { until } from '../until.ts';
import type { RunningRelay } from './wstun-stack.ts';

/** The processes that this one has started. */
export function childrenOf(pid: number): number[] {
  const isChild = (each: string): boolean => {
    try {
      return readFileSync(`/proc/${each}/stat`, 'latin1')
        .replace(/^.*\) \S /s, '')
        .startsWith(`${pid} `);
    } catch {
      // It has ended meanwhile.
      return false;
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isChild(name))
    .map(Number);
}

/** Of a relay of two workers. */
export async function bothServe({ process: { events } }: RunningRelay): Promise<void> {
  const count = (state: string): number =>
    events.filter((each) => each.event === 'worker' && each.state === state).length;
  // The first one serves when the relay is ready.
  await until(() => 1 + count('serving') - count('died') === 2, 20_000);
}

/** Kills the worker with that number. */
export function killWorker(relay: RunningRelay, number: number): void {
  const id = `"id":"${number.toString(16).padStart(2, '0')}`;
  const pid = childrenOf(relay.process.pid).find((each) =>
    readFileSync(`/proc/${each}/environ`, 'latin1').includes(id),
  );
  if (pid === undefined) throw new Error(`there is no worker number ${number}`);
  process.kill(pid, 'SIGKILL');
}

/** Of the sockets of a worker and of all others of its relay. */
export function directoryOf(worker: number): string {
  const [, directory] = /"directory":"([^"]+)"/.exec(readFileSync(`/proc/${worker}/environ`, 'latin1')) ?? [];
  if (directory === undefined) throw new Error(`process ${worker} is no worker`);
  return directory;
}
