/**
 * Which process runs with a state directory: a file that identifies it as long as it runs. The file of a dead process
 * has no effect: a process is the same only if its id, its start time and the boot of the machine are. Processes
 * elsewhere, on another machine or in another container, cannot be checked from here.
 */
import { readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { WstunError } from '../errors.ts';
import { isAlive } from './lock.ts';
import type { StateDir } from './state-dir.ts';

const NAME = '.running';

/**
 * Returns a function that removes the mark, once: later the mark may be of another exit in this process.
 * @throws WstunError exit-running, with the process id; state-unusable
 */
export async function markRunning(state: StateDir): Promise<() => Promise<void>> {
  const own = await nameOf(process.pid);
  await state.locked(async () => {
    const holder = await state.read(NAME, { secret: false });
    const pid = holder === undefined ? undefined : await runningHolder(holder);
    if (pid !== undefined) throw new WstunError('exit-running', `process ${pid}, with ${state.path}`);
    await state.write(NAME, own);
  });
  const unmark = async () => {
    const holder = await state.read(NAME, { secret: false }).catch(() => undefined);
    if (holder === own) await rm(state.pathOf(NAME), { force: true }).catch(() => {});
  };
  let unmarked: Promise<void> | undefined;
  return () => {
    unmarked ??= unmark();
    return unmarked;
  };
}

/** The id of the process that wrote the text, if it still runs. */
async function runningHolder(text: string): Promise<number | undefined> {
  const pid = Number(text.split(' ')[0]);
  if (!Number.isSafeInteger(pid) || pid < 1 || !isAlive(pid)) return undefined;
  return (await nameOf(pid)) === text ? pid : undefined;
}

/** Id, host and, if there is /proc, boot of the machine and start time of the process: ids are reused. */
async function nameOf(pid: number): Promise<string> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => '');
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  // proc_pid_stat(5): the name, in brackets, may hold anything; starttime is the twentieth field after it.
  const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  return `${pid} ${hostname()} ${boot.trim()} ${started}\n`;
}
