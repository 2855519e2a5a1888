/** Makes changes on this machine, and undoes them. Runs `ip`, and reads and writes the files that changes name. */
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { WstunError } from '../errors.ts';
import type { Change, Command } from './changes.ts';

/** An `ip` needs some milliseconds. */
const COMMAND_LIMIT_MS = 10_000;

export interface Machine {
  /** @throws WstunError vpn-failed, vpn-program-missing */
  make(change: Change): Promise<void>;
  /** Whatever is left of it. Never rejects. */
  undo(change: Change): Promise<void>;
  /** What a command prints; undefined where it fails. */
  ask(command: Command): Promise<string | undefined>;
}

export const thisMachine: Machine = {
  async make(change) {
    if (change.kind === 'file') return await writeFile(change.path, change.after);
    await run(change.run);
  },
  async undo(change) {
    if (change.kind === 'command') return void (await run(change.undo).catch(() => {}));
    // Who has changed it since knows better.
    const now = await readFile(change.path, 'utf8').catch(() => undefined);
    if (now !== change.after) return;
    await (change.before === undefined ? rm(change.path) : writeFile(change.path, change.before)).catch(() => {});
  },
  ask: (command) => run(command).catch(() => undefined),
};

/** @throws WstunError vpn-failed, vpn-program-missing */
function run([program, ...args]: Command): Promise<string> {
  return new Promise((resolve, reject) => {
    // Debian has no /usr/sbin in the PATH of users, nor in that of some services.
    const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };
    execFile(program, args, { env, timeout: COMMAND_LIMIT_MS }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      if (error.code === 'ENOENT') return reject(new WstunError('vpn-program-missing', program));
      reject(new WstunError('vpn-failed', `${[program, ...args].join(' ')}: ${stderr.trim() || error.message}`));
    });
  });
}
