/** Dante, a SOCKS server, with a configuration of its own; it asks for the user name and password of an account. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, runWell, startServer } from './programs.ts';

/**
 * `none`: without a user name. Returns its port on 127.0.0.1. It knows the names of /etc/hosts.
 * @param accounts in the place of the machine's, with their passwords: only this server sees them, for which it must be
 * started by root
 */
export async function startDanted(
  method: 'none' | 'username',
  lines = '',
  accounts: Readonly<Record<string, string>> = {},
): Promise<number> {
  const dir = await tempDir();
  const port = await freePort();
  const file = join(dir, 'danted.conf');
  await writeFile(
    file,
    `
logoutput: ${join(dir, 'log')}
internal: 127.0.0.1 port = ${port}
external: lo
clientmethod: none
socksmethod: ${method}
user.privileged: root
user.unprivileged: nobody
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
${lines}
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`,
  );
  const within = Object.keys(accounts).length === 0 ? [] : await withAccounts(dir, accounts);
  const args = ['-f', file, '-N', '1', '-p', join(dir, 'pid')];
  await startServer('danted', args, port, { end: 'SIGTERM', within });
  return port;
}

/** In front of a command that is to see other accounts: files over those of the machine, in a mount namespace. */
async function withAccounts(dir: string, accounts: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const hashed = Object.entries(accounts).map(async ([user, password], at) => {
    const hash = await runWell('openssl', ['passwd', '-6', '-stdin'], { input: password });
    return {
      passwd: `${user}:x:${20_000 + at}:${20_000 + at}::/:/bin/false`,
      shadow: `${user}:${hash.trim()}:19000::::::`,
    };
  });
  const users = await Promise.all(hashed);
  const system = ['root:x:0:0:root:/root:/bin/sh', 'nobody:x:65534:65534:nobody:/:/bin/false'];
  await writeFile(join(dir, 'passwd'), [...system, ...users.map(({ passwd }) => passwd), ''].join('\n'));
  await writeFile(join(dir, 'shadow'), [...users.map(({ shadow }) => shadow), ''].join('\n'), { mode: 0o600 });
  const mounts = ['passwd', 'shadow'].map((name) => `mount --bind ${join(dir, name)} /etc/${name}`).join(' && ');
  return ['unshare', '--mount', '--', 'sh', '-c', `${mounts} && exec "$0" "$@"`];
}
