/** An OpenSSH server for the user who runs the tests: host key, user key and configuration in a temporary directory. */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, runWell, startServer } from './programs.ts';

export interface Sshd {
  readonly port: number;
  /** For ssh, scp and sftp: who we are, and whom we expect, without a look at the user's own files. */
  readonly options: readonly string[];
  readonly user: string;
}

/** @param at where it listens; default: a free port of 127.0.0.1 */
export async function startSshd(at?: { readonly address: string; readonly port: number }): Promise<Sshd> {
  const dir = await tempDir();
  const user = userInfo().username;
  const [hostKey, userKey] = [join(dir, 'host_key'), join(dir, 'user_key')];
  for (const key of [hostKey, userKey]) await runWell('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  await copyFile(`${userKey}.pub`, join(dir, 'authorized_keys'));
  const port = at?.port ?? (await freePort());
  const configuration = [
    `ListenAddress 127.0.0.1:${port}`,
    ...(at === undefined ? [] : [`ListenAddress ${at.address}:${port}`]),
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${join(dir, 'authorized_keys')}`,
    'PidFile none',
    // The directory of the keys is in /tmp.
    'StrictModes no',
    'UsePAM no',
    'PermitRootLogin prohibit-password',
    'PasswordAuthentication no',
    'Subsystem sftp internal-sftp',
  ];
  await writeFile(join(dir, 'sshd_config'), `${configuration.join('\n')}\n`);
  // The package's service makes it at boot, which never happened in a container.
  if (user === 'root') await mkdir('/run/sshd', { recursive: true });
  await startServer('/usr/sbin/sshd', ['-D', '-e', '-f', join(dir, 'sshd_config')], port);
  const options = {
    IdentityFile: userKey,
    IdentitiesOnly: 'yes',
    UserKnownHostsFile: join(dir, 'known_hosts'),
    StrictHostKeyChecking: 'accept-new',
    BatchMode: 'yes',
    LogLevel: 'ERROR',
  };
  return { port, user, options: ['-F', 'none', ...Object.entries(options).flatMap(([k, v]) => ['-o', `${k}=${v}`])] };
}
