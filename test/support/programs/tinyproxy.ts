/** tinyproxy: an HTTP proxy that answers CONNECT as HTTP/1.0, with Basic if there is a user. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, startServer } from './programs.ts';

/** Returns its port on 127.0.0.1. @param lines further ones of its configuration */
export async function startTinyproxy(lines: readonly string[] = []): Promise<number> {
  const dir = await tempDir();
  const port = await freePort();
  const file = join(dir, 'tinyproxy.conf');
  await writeFile(file, ['Listen 127.0.0.1', `Port ${port}`, 'MaxClients 32', ...lines, ''].join('\n'));
  await startServer('tinyproxy', ['-d', '-c', file], port);
  return port;
}
