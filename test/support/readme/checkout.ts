/** A copy of this repository, as a person has it who has cloned it, and a registry for its packages. */
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { lockWithoutChecksums, startNpmRegistry } from '../programs/npm-registry.ts';
import { runWell } from '../programs/programs.ts';
import { tempDir } from '../temp-dir.ts';

const ROOT = join(import.meta.dirname, '../../..');

export interface Checkout {
  readonly folder: string;
  /** For npm, which installs global packages below `prefix`. */
  env(prefix: string): Readonly<Record<string, string>>;
}

/** Until the test, or the file, is over. @param address of the test, for the registry */
export async function makeCheckout(address: string): Promise<Checkout> {
  const folder = await tempDir();
  const cache = await tempDir();
  const list = "git -c safe.directory='*' ls-files -z --cached --others --exclude-standard";
  const copy = `${list} | tar --null -T - -c | tar -x -C "$0"`;
  await runWell('sh', ['-c', copy, folder], { cwd: ROOT });
  await writeFile(join(folder, 'package-lock.json'), lockWithoutChecksums());
  const registry = await startNpmRegistry(address);
  const npm = { audit: 'false', fund: 'false', update_notifier: 'false' };
  const settings = Object.entries({ ...npm, cache, registry }).map(([name, value]) => [`npm_config_${name}`, value]);
  return { folder, env: (prefix) => ({ ...Object.fromEntries(settings), npm_config_prefix: prefix }) };
}

/** With the programs of that prefix, and the Node that runs the test, before all others. */
export function pathWith(...folders: readonly string[]): string {
  return [...folders, dirname(process.execPath), process.env.PATH ?? '', '/usr/sbin', '/sbin'].join(':');
}
