/** Caddy in front of a server, as its shortest configuration makes it: `reverse_proxy`, without TLS. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, startServer } from './programs.ts';

/** Returns its port on 127.0.0.1. */
export async function startCaddy(server: number): Promise<number> {
  const dir = await tempDir();
  const port = await freePort();
  const file = join(dir, 'Caddyfile');
  await writeFile(
    file,
    `{\n  admin off\n}\nhttp://:${port} {\n  bind 127.0.0.1\n  reverse_proxy 127.0.0.1:${server}\n}\n`,
  );
  const env = { XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir, HOME: dir };
  await startServer('caddy', ['run', '--adapter', 'caddyfile', '--config', file], port, { env });
  return port;
}
