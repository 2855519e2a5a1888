/**
 * Apache with a configuration of its own, in a temporary directory, as one process, so that no other can be left over.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, startServer } from './programs.ts';

const MODULES = '/usr/lib/apache2/modules';

/** `lines`: of its one virtual host. Returns its port on 127.0.0.1. */
export async function startApache(lines: string, modules: readonly string[] = []): Promise<number> {
  const dir = await tempDir();
  const port = await freePort();
  const loaded = ['mpm_event', 'authz_core', 'proxy', 'proxy_http', ...modules];
  const file = join(dir, 'apache.conf');
  await writeFile(
    file,
    `
${loaded.map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`).join('\n')}
ServerName localhost
ServerRoot ${dir}
DefaultRuntimeDir ${dir}
PidFile ${dir}/pid
ErrorLog ${dir}/error.log
User www-data
Group www-data
StartServers 1
Listen 127.0.0.1:${port}
<VirtualHost 127.0.0.1:${port}>
  ${lines}
</VirtualHost>
`,
  );
  await startServer('apache2', ['-X', '-f', file], port);
  return port;
}
