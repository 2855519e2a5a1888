/** nginx with a configuration of its own, in a temporary directory, in the foreground. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, startServer } from './programs.ts';
import { tempDir } from './temp-dir.ts';

export interface Nginx {
  readonly port: number;
  /** Files put here are served. */
  readonly root: string;
  /** One line for each request served so far: status, bytes of the body, request line. */
  accessLog(): Promise<string[]>;
}

/** `locations`: further lines of its one server block. */
export async function startNginx(locations = ''): Promise<Nginx> {
  const dir = await tempDir();
  const root = join(dir, 'www');
  const log = join(dir, 'access.log');
  await mkdir(root);
  const port = await freePort();
  await writeFile(join(dir, 'nginx.conf'), configuration(dir, port, locations));
  await startServer('nginx', ['-p', dir, '-e', 'stderr', '-c', join(dir, 'nginx.conf')], port);
  return { port, root, accessLog: async () => (await readFile(log, 'latin1')).split('\n').filter(Boolean) };
}

/** One process, so that no worker can be left over. */
function configuration(dir: string, port: number, locations: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${dir}/${kind};`,
  );
  return `
daemon off;
master_process off;
pid ${dir}/pid;
events { worker_connections 1024; }
http {
  ${temporary.join('\n  ')}
  log_format short '$status $body_bytes_sent $request';
  access_log ${dir}/access.log short;
  types { text/html html; text/css css; text/javascript js; image/svg+xml svg; application/json json; }
  server {
    listen 127.0.0.1:${port};
    root ${dir}/www;
    ${locations}
  }
}
`;
}
