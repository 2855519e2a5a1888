/**
 * tun2proxy, which is no Debian package: from PATH, or as install-programs.sh has built it. Only a machine without it and
 * without cargo, which could build it, may go without the tests that need it.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const BUILT = join(import.meta.dirname, '../../../node_modules/.cache/wstun-tun2proxy/bin');

const pathFolders = (process.env.PATH ?? '').split(delimiter);
const has = (program: string, folders: readonly string[]) =>
  folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

/** For programs that look for it there. */
export const PATH_WITH_TUN2PROXY = [...pathFolders, BUILT, '/usr/sbin', '/sbin'].join(delimiter);

/** False: the test is skipped, which is said on stderr. Where it could have been built, the test fails instead. */
export const isTun2proxyHere =
  has('tun2proxy-bin', [...pathFolders, BUILT]) ||
  has('cargo', [...pathFolders, join(process.env.HOME ?? '', '.cargo/bin')]);

if (!isTun2proxyHere) process.stderr.write('\n!!! no tun2proxy and no cargo: the tests of wstun vpn are SKIPPED\n\n');
