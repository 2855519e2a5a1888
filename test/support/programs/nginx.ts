/** nginx with a configuration of its own, in a temporary directory, in the foreground. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, runWell, startServer } from './programs.ts';

export interface Nginx {
  readonly port: number;
  /** Files put here are served. */
  readonly root: string;
  /** One line for each request served so far: status, bytes of the body, request line. */
  accessLog(): Promise<string[]>;
}

/** `locations`: further lines of its one server block. `listen`: what follows its address. */
export async function startNginx(locations = '', { listen = '' } = {}): Promise<Nginx> {
  const dir = await tempDir();
  const root = join(dir, 'www');
  const log = join(dir, 'access.log');
  await mkdir(root);
  const port = await freePort();
  await writeFile(join(dir, 'nginx.conf'), configuration(dir, port, locations, listen));
  await startServer('nginx', ['-p', dir, '-e', 'stderr', '-c', join(dir, 'nginx.conf')], port);
  return { port, root, accessLog: async () => (await readFile(log, 'latin1')).split('\n').filter(Boolean) };
}

/** One that passes bytes to a port, by the lines of its one server block of `stream`. Returns its port on 127.0.0.1. */
export async function startNginxStream(target: number, lines: string): Promise<number> {
  const dir = await tempDir();
  const port = await freePort();
  const file = join(dir, 'nginx.conf');
  await writeFile(
    file,
    `
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
pid ${dir}/pid;
events { worker_connections 1024; }
stream { server { listen 127.0.0.1:${port}; proxy_pass 127.0.0.1:${target}; ${lines} } }
`,
  );
  await startServer('nginx', ['-p', dir, '-e', 'stderr', '-c', file], port);
  return port;
}

/**
 * What a front does with requests: `pass` them to the relay, or `strip` their upgrade first, or answer in its place, as
 * a line of nginx's configuration.
 */
export type FrontMode = 'pass' | 'strip' | `return ${string};`;

export interface Fronts {
  readonly ports: readonly number[];
  /** All at once, by a reload. Connections of before are cut a second later. */
  switchTo(modes: readonly FrontMode[]): Promise<void>;
}

/** As many servers of one nginx in front of a relay. */
export async function startFronts(count: number, relayPort: number): Promise<Fronts> {
  const dir = await tempDir();
  const ports = await Promise.all(Array.from({ length: count }, () => freePort()));
  const file = join(dir, 'nginx.conf');
  const write = (modes: readonly FrontMode[]) => writeFile(file, frontConfiguration(dir, ports, relayPort, modes));
  await write(ports.map(() => 'pass'));
  const nginx = ['-p', dir, '-e', 'stderr', '-c', file];
  await startServer('nginx', nginx, ports[0] ?? 0, { end: 'SIGTERM' });
  return {
    ports,
    switchTo: async (modes) => {
      await write(modes);
      await runWell('nginx', [...nginx, '-s', 'reload']);
    },
  };
}

function frontConfiguration(
  dir: string,
  ports: readonly number[],
  relayPort: number,
  modes: readonly FrontMode[],
): string {
  const pass = `
      proxy_pass http://127.0.0.1:${relayPort};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $http_connection;
      proxy_read_timeout 60s;`;
  const lines: Readonly<Record<string, string>> = { pass, strip: `proxy_pass http://127.0.0.1:${relayPort};` };
  const servers = ports.map((port, at) => {
    const mode = modes[at] ?? 'pass';
    return `  server { listen 127.0.0.1:${port}; location / { ${lines[mode] ?? mode} } }`;
  });
  return `
daemon off;
user root;
worker_processes 1;
worker_shutdown_timeout 1s;
pid ${dir}/pid;
events { worker_connections 1024; }
http {
  ${temporaryPaths(dir)}
  access_log off;
${servers.join('\n')}
}
`;
}

/**
 * The portal of a network without a login, at all addresses of this machine: whatever is asked for, by http:// or
 * https://, it leads to its page. Its certificate is its own.
 */
export async function startPortal(
  pair: { readonly cert: string; readonly key: string },
  page: string,
): Promise<{ readonly http: number; readonly https: number }> {
  const dir = await tempDir();
  const [http, https] = [await freePort(), await freePort()];
  const file = join(dir, 'nginx.conf');
  await Promise.all([writeFile(join(dir, 'cert.pem'), pair.cert), writeFile(join(dir, 'key.pem'), pair.key)]);
  const listen = `listen ${http}; listen ${https} ssl;`;
  const tls = `ssl_certificate ${dir}/cert.pem; ssl_certificate_key ${dir}/key.pem;`;
  await writeFile(
    file,
    `
daemon off;
master_process off;
pid ${dir}/pid;
events { worker_connections 64; }
http {
  ${temporaryPaths(dir)}
  access_log off;
  server { ${listen} ${tls} return 302 ${page}; }
}
`,
  );
  await startServer('nginx', ['-p', dir, '-e', 'stderr', '-c', file], http);
  return { http, https };
}

/** As `startNginx`, with TLS: what it sees of each request, and lines for its one location. */
export async function startTlsNginx(
  pair: { readonly cert: string; readonly key: string },
  lines: string,
): Promise<TlsNginx> {
  const dir = await tempDir();
  const port = await freePort();
  const log = join(dir, 'access.log');
  const file = join(dir, 'nginx.conf');
  await Promise.all([writeFile(join(dir, 'cert.pem'), pair.cert), writeFile(join(dir, 'key.pem'), pair.key)]);
  await writeFile(file, tlsConfiguration(dir, port, lines));
  await startServer('nginx', ['-p', dir, '-e', 'stderr', '-c', file], port);
  return {
    port,
    seen: async () =>
      (await readFile(log, 'utf8'))
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as SeenByNginx),
  };
}

export interface SeenByNginx {
  readonly status: string;
  readonly sni: string;
  readonly host: string;
  readonly agent: string;
  readonly team: string;
  readonly from: string;
  readonly reused: string;
}

export interface TlsNginx {
  readonly port: number;
  /** One for each request that is over. */
  seen(): Promise<readonly SeenByNginx[]>;
}

function tlsConfiguration(dir: string, port: number, lines: string): string {
  return `
daemon off;
master_process off;
pid ${dir}/pid;
events { worker_connections 1024; }
http {
  ${temporaryPaths(dir)}
  log_format seen escape=json '{"status":"$status","sni":"$ssl_server_name","host":"$http_host","agent":"$http_user_agent",'
    '"team":"$http_x_team","from":"$remote_addr","reused":"$ssl_session_reused"}';
  access_log ${dir}/access.log seen;
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${dir}/cert.pem;
    ssl_certificate_key ${dir}/key.pem;
    ${lines}
  }
}
`;
}

/** Directives: what nginx writes for a moment goes to this directory. */
export function temporaryPaths(dir: string): string {
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return kinds.map((kind) => `${kind}_temp_path ${dir}/${kind};`).join('\n  ');
}

/** One process, so that no worker can be left over. */
function configuration(dir: string, port: number, locations: string, listen: string): string {
  return `
daemon off;
master_process off;
pid ${dir}/pid;
events { worker_connections 1024; }
http {
  ${temporaryPaths(dir)}
  log_format short '$status $body_bytes_sent $request';
  access_log ${dir}/access.log short;
  types { text/html html; text/css css; text/javascript js; image/svg+xml svg; application/json json; }
  server {
    listen 127.0.0.1:${port} ${listen};
    root ${dir}/www;
    ${locations}
  }
}
`;
}
