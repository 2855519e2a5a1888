/** Paths to the relay: through a reverse proxy under a path, over TLS, and what a stranger gets there. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { makeAuthority } from '../support/programs/authority.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { startNginx } from '../support/programs/nginx.ts';
import { freePort, runWell } from '../support/programs/programs.ts';
import { invite, type RunningClient, spawnClient, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { openRaw } from '../support/proxy/raw-http.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';

const MIB = 1024 * 1024;

async function carries({ port }: RunningClient): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
  const { sent, received } = await exchange(socket, 4 * MIB);
  expect(received).toEqual({ bytes: 4 * MIB, hash: sent });
}

describe('behind nginx, under a path', () => {
  it.each([[[]], [['--path', '/some/path']]])(
    'a relay behind nginx under a path, with the options %j, carries connections',
    async (args) => {
      const port = await freePort();
      const nginx = await startNginx(`
    location /some/path/ {
      proxy_pass http://127.0.0.1:${port};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $http_connection;
      proxy_read_timeout 60s;
    }`);
      const url = `ws://127.0.0.1:${nginx.port}/some/path`;
      const relay = await startRelay({ port, args: [...args, '--url', url] });
      expect(relay.url).toBe(url);
      await carries(await startClient(await invite(relay, 'alice', { allow: ['*'] })));
      expect(await runWell('curl', ['-s', '-w', ' %{http_code}', `http://127.0.0.1:${nginx.port}/some/path/`])).toBe(
        'Not Found 404',
      );
    },
  );

  it('a relay with --path serves tickets only under that path', async () => {
    const relay = await startRelay({ args: ['--path', 'hidden/'] });
    expect(relay.url).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/hidden$/);
    await carries(await startClient(await invite(relay, 'alice', { allow: ['*'] })));
    const elsewhere = spawnClient(await invite(relay, 'bob', { url: relay.url.replace('hidden', 'other') }));
    expect(await elsewhere.event('retrying')).toMatchObject({ code: 'WSTUN-E220' });
    await expect
      .poll(() => relay.process.stderr)
      .toMatch(/ticket of bob came under the path \/other\/… instead of \/hidden\/…/);
  });
});

describe('over TLS', () => {
  it('a relay with TLS carries connections of a client that trusts its certificate authority, and of no other', async () => {
    const dir = await tempDir();
    const authority = makeAuthority('/O=Example/CN=Example Root');
    const { cert, key } = authority.issue('IP:127.0.0.1');
    const [certFile, keyFile, caFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem'), join(dir, 'ca.pem')];
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
    await writeFile(caFile, authority.cert);
    const relay = await startRelay({ args: ['--tls-cert', certFile, '--tls-key', keyFile] });
    expect(relay.url).toMatch(/^wss:/);
    const secret = await invite(relay, 'alice', { allow: ['*'] });
    await carries(await startClient(secret, { env: { NODE_EXTRA_CA_CERTS: caFile } }));
    await carries(await startClient(secret, { env: { SSL_CERT_FILE: caFile } }));

    const wary = spawnClient(secret);
    const { code, message } = await wary.event('retrying');
    expect(code).toBe('WSTUN-E203');
    expect(message).toContain('it is from "Example Root, Example", which is not known here');
    expect(wary.events.some(({ event }) => event === 'ready')).toBe(false);
  });
});

it('a relay shows a renewed certificate within two seconds, and connections through it live on', async () => {
  const dir = await tempDir();
  const [old, renewed] = [makeCertificate(), makeCertificate()];
  const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  const put = async ({ cert, key }: typeof old): Promise<void> => {
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
  };
  await put(old);
  const relay = await startRelay({ args: ['--tls-cert', certFile, '--tls-key', keyFile] });
  const authority = join(dir, 'authority.pem');
  await writeFile(authority, old.cert);
  const secret = await invite(relay, 'alice', { allow: ['*'] });
  const { port } = await startClient(secret, { env: { NODE_EXTRA_CA_CERTS: authority } });
  const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
  await put(renewed);
  const begun = performance.now();
  while ((await certificateOf(relay.port)) !== renewed.cert) expect(performance.now() - begun).toBeLessThan(5_000);
  const { sent, received } = await exchange(socket, MIB);
  expect(received).toEqual({ bytes: MIB, hash: sent });
});

async function certificateOf(port: number): Promise<string | undefined> {
  const socket = openRaw(port, true) as TLSSocket;
  await once(socket, 'secureConnect');
  const certificate = socket.getPeerX509Certificate()?.toString();
  socket.destroy();
  return certificate;
}

describe('the admin address', () => {
  it('the health page is at the admin address of a relay, and not at the public one', async () => {
    const relay = await startRelay({ args: ['--admin', '127.0.0.1:0'] });
    const admin = relay.process.events[0]?.admin;
    expect(await runWell('curl', ['-s', `http://${admin}/healthz`])).toBe('ok\n');
    expect(await runWell('curl', ['-s', `http://127.0.0.1:${relay.port}/healthz`])).toBe('Not Found');
  });
});
