/** @module-tag waits */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WstunError } from '../../src/errors.ts';
import { markRunning } from '../../src/state/running-marker.ts';
import { openStateDir, type StateDir } from '../../src/state/state-dir.ts';
import { tempDir } from '../support/temp-dir.ts';

async function newState(): Promise<StateDir> {
  return openStateDir(join(await tempDir(), 'state'));
}

const markOf = (state: StateDir): Promise<string> => readFile(state.pathOf('.running'), 'utf8');

describe('markRunning', () => {
  it('markRunning rejects a second process with the id of the first, until the mark is removed', async () => {
    const state = await newState();
    const unmark = await markRunning(state);
    const error = await markRunning(state).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(WstunError);
    expect(error).toMatchObject({ fault: 'exit-running', detail: `process ${process.pid}, with ${state.path}` });
    await unmark();
    expect(await readdir(state.path)).toEqual([]);
    await (await markRunning(state))();
  });

  it('markRunning removes its mark once: a second call leaves the mark of another exit in the process', async () => {
    const state = await newState();
    const unmark = await markRunning(state);
    await unmark();
    const unmarkOther = await markRunning(state);
    await unmark();
    expect(await markOf(state)).toContain(`${process.pid} `);
    await unmarkOther();
  });

  it('markRunning ignores the mark of a process that has ended, however it ended', async () => {
    const state = await newState();
    const child = spawn('sleep', ['60']);
    onTestFinished(() => void child.kill('SIGKILL'));
    await (await markRunning(state))();
    // As that process would have written it.
    const stat = await readFile(`/proc/${child.pid}/stat`, 'latin1');
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim();
    const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    await writeFile(state.pathOf('.running'), `${child.pid} ${hostname()} ${boot} ${started}\n`, { mode: 0o600 });
    await expect(markRunning(state)).rejects.toMatchObject({ fault: 'exit-running' });
    child.kill('SIGKILL');
    await once(child, 'close');
    await (await markRunning(state))();
  });

  it('markRunning ignores a mark whose process id is reused: after a reboot, on another host, or by chance', async () => {
    const state = await newState();
    const unmark = await markRunning(state);
    const [pid = '', host = '', boot = '', started = ''] = (await markOf(state)).trim().split(' ');
    await unmark();
    for (const text of [
      `${pid} ${host} ${boot} ${Number(started) + 1}\n`,
      `${pid} ${host} another-boot ${started}\n`,
      `${pid} another-host ${boot} ${started}\n`,
      '1\n',
      'nonsense',
      '',
      '-1 x y z',
    ]) {
      await writeFile(state.pathOf('.running'), text, { mode: 0o600 });
      await (await markRunning(state))();
    }
  });

  it('markRunning does not remove the mark of another process', async () => {
    const state = await newState();
    const unmark = await markRunning(state);
    await writeFile(state.pathOf('.running'), 'another\n');
    await unmark();
    expect(await markOf(state)).toBe('another\n');
  });
});
