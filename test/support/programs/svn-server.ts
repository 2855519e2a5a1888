/** Apache with mod_dav_svn, as Debian ships it, and a repository of many small files. */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, runWell, startServer } from './programs.ts';

export interface SvnServer {
  /** Serves the repository at `/svn`. */
  readonly port: number;
  readonly files: readonly string[];
}

const MODULES = ['mpm_event', 'authz_core', 'dav', 'dav_svn'];

export async function startSvnServer(count: number): Promise<SvnServer> {
  const dir = await tempDir();
  // Apache gives its rights up, and must still get there.
  await chmod(dir, 0o755);
  const [work, repository, home] = ['work', 'repository', 'svn-home'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  await mkdir(work);
  const files = Array.from({ length: count }, (_, i) => `file-${i}`);
  for (const name of files) await writeFile(join(work, name), `${name}\n`.repeat(100));
  await runWell('svnadmin', ['create', repository]);
  const to = ['--config-dir', home, '-q', '-m', 'all', work, `file://${repository}`];
  await runWell('svn', ['import', '--non-interactive', ...to]);
  await runWell('chmod', ['-R', 'a+rX', repository]);
  const port = await freePort();
  await writeFile(join(dir, 'apache.conf'), configuration(dir, port, repository));
  // -X: one process, so that none can be left over.
  await startServer('apache2', ['-X', '-f', join(dir, 'apache.conf')], port);
  return { port, files };
}

function configuration(dir: string, port: number, repository: string): string {
  return `
ServerRoot ${dir}
ServerName localhost
Listen 127.0.0.1:${port}
${MODULES.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
PidFile ${dir}/pid
DefaultRuntimeDir ${dir}
ErrorLog ${dir}/error.log
User www-data
Group www-data
<Location /svn>
  DAV svn
  SVNPath ${repository}
  Require all granted
</Location>
`;
}
