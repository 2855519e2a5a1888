/**
 * Relays of a cluster behind one URL: the lines of docs/scaling.md for HAProxy and nginx, of which all requests of an
 * HTTP link come to the same relay.
 * @module-tag waits
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { decodeInvite, encodeInvite } from '../../src/crypto/invite.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { temporaryPaths } from '../support/programs/nginx.ts';
import { freePort, startServer } from '../support/programs/programs.ts';
import { WstunCluster } from '../support/programs/wstun-cluster.ts';
import { startClient } from '../support/programs/wstun-stack.ts';
import { carry } from '../support/proxy/carry.ts';
import { tempDir } from '../support/temp-dir.ts';

const LIMIT = { timeout: 240_000 };
const CLIENTS = 4;

const scaling = await readFile(new URL('../../docs/scaling.md', import.meta.url), 'utf8');

/** The block of that page which has this line. */
function blockWith(line: string): string {
  const found = [...scaling.matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, text = '']) => text);
  const [block, ...more] = found.filter((text) => text.split('\n').some((each) => each.trim() === line));
  if (block === undefined || more.length > 0) throw new Error(`docs/scaling.md has not one block with ${line}`);
  return block;
}

function haproxyOf(port: number, relays: readonly number[]): string {
  const servers = relays.map((relay, at) => `  server r${at} 127.0.0.1:${relay} check send-proxy-v2`);
  return blockWith('frontend wstun')
    .replace('bind :443', `bind 127.0.0.1:${port}`)
    .replace(/^ {2}balance leastconn\n/m, blockWith('balance source'))
    .replace(/(?:^ {2}server .*\n)+/m, `${servers.join('\n')}\n`);
}

function nginxOf(dir: string, port: number, relays: readonly number[]): string {
  const servers = relays.map((relay) => `server 127.0.0.1:${relay};`).join(' ');
  return `
daemon off;
master_process off;
pid ${dir}/pid;
events { worker_connections 1024; }
http {
  access_log off;
  ${temporaryPaths(dir)}
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream relays { ${blockWith('hash $remote_addr consistent;')} ${servers} }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://relays;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_buffering off;
      proxy_request_buffering off;
    }
  }
}`;
}

describe('relays of a cluster behind one URL', () => {
  for (const program of ['HAProxy', 'nginx'] as const) {
    it(
      `clients with HTTP links come through ${program}, as docs/scaling.md sets it up, each to one relay`,
      LIMIT,
      async () => {
        const target = await tcpServer(echo);
        const port = await freePort();
        const url = `ws://127.0.0.1:${port}`;
        const proxy = program === 'HAProxy' ? ['--proxy-protocol'] : [];
        const args = ['--own-url', url, '--trust-proxy', '127.0.0.1', ...proxy];
        const cluster = await WstunCluster.start({ args });
        const relays = cluster.relays.map((relay) => relay.port);
        const dir = await tempDir();
        const file = join(dir, 'balancer.conf');
        if (program === 'HAProxy') {
          await writeFile(file, haproxyOf(port, relays));
          await startServer('haproxy', ['-db', '-f', file], port);
        } else {
          await writeFile(file, nginxOf(dir, port, relays));
          await startServer('nginx', ['-p', dir, '-e', 'stderr', '-c', file], port);
        }
        const invited = decodeInvite(await cluster.invite('alice', { allow: ['*'], sessions: '16' }));
        const secret = encodeInvite({ ...invited, relayUrls: [url] });
        for (const transport of ['http', 'websocket']) {
          const start = () => startClient(secret, { args: ['--transport', transport] });
          const clients = await Promise.all(Array.from({ length: CLIENTS }, start));
          for (const client of clients) await carry(client, target);
        }
      },
    );
  }
});
