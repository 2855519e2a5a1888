/** Dante, a SOCKS server, with a configuration of its own; it asks for the user name and password of an account. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, startServer } from './programs.ts';

/** `none`: without a user name. Returns its port on 127.0.0.1. It knows the names of /etc/hosts. */
export async function startDanted(method: 'none' | 'username', lines = ''): Promise<number> {
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
  await startServer('danted', ['-f', file, '-N', '1', '-p', join(dir, 'pid')], port, { end: 'SIGTERM' });
  return port;
}
