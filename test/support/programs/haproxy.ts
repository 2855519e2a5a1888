/** HAProxy with a configuration of its own, in a temporary directory, in the foreground. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, startServer } from './programs.ts';

/**
 * `rules`: of its one proxy, which leads to the server at that port; `options`: of that server. Returns its own port on
 * 127.0.0.1.
 */
export async function startHaproxy(server: number, rules: string, options = ''): Promise<number> {
  const dir = await tempDir();
  const port = await freePort();
  const file = join(dir, 'haproxy.cfg');
  await writeFile(
    file,
    `
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen relay
  bind 127.0.0.1:${port}
  ${rules}
  server relay 127.0.0.1:${server} ${options}
`,
  );
  await startServer('haproxy', ['-db', '-f', file], port);
  return port;
}
