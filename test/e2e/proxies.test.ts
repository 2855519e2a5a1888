/**
 * Networks that only a proxy leads out of, with real proxies: the relay's name exists for the proxy alone.
 * @module-tag waits
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/programs/certificate.ts';
import { startNginx } from '../support/programs/nginx.ts';
import { runWell } from '../support/programs/programs.ts';
import { startSquid } from '../support/programs/squid.ts';
import {
  type ClientOptions,
  invite,
  type RunningClient,
  startClient,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const HOSTS = { 'relay.corp.test': '127.0.0.1' };
const certificate = makeCertificate('DNS:relay.corp.test,DNS:proxy.corp.test,IP:127.0.0.1');

interface Network {
  readonly invite: string;
  /** Of the relay. */
  readonly port: number;
  /** Of a web server that the exit may reach. */
  readonly page: number;
  /** Trusts the certificate of the relay. */
  readonly env: Readonly<Record<string, string>>;
}

/** A relay by TLS whose name only the proxy can resolve. */
async function startNetwork(scheme: 'ws' | 'wss' = 'wss'): Promise<Network> {
  const dir = await tempDir();
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  await writeFile(cert, certificate.cert);
  await writeFile(key, certificate.key, { mode: 0o600 });
  const tls = scheme === 'wss' ? ['--tls-cert', cert, '--tls-key', key] : [];
  const relay = await startRelay({ args: tls });
  const { port: page } = await startNginx('location / { return 200 "through the tunnel"; }');
  const url = `${scheme}://relay.corp.test:${relay.port}`;
  const secret = await invite(relay, 'laptop', { allow: [`127.0.0.1:${page}`], url });
  return { invite: secret, port: relay.port, page, env: { NODE_EXTRA_CA_CERTS: cert } };
}

async function startThrough(network: Network, { env = {}, ...options }: ClientOptions): Promise<RunningClient> {
  return await startClient(network.invite, { ...options, env: { ...network.env, ...env } });
}

async function expectPage({ port }: RunningClient, { page }: Network): Promise<void> {
  const shown = await runWell('curl', ['-sS', '-x', `socks5h://127.0.0.1:${port}`, `http://127.0.0.1:${page}/`]);
  expect(shown).toBe('through the tunnel');
}

describe('a client behind a proxy', () => {
  it('reaches the relay by the proxy of https_proxy, which alone can resolve its name', async () => {
    const network = await startNetwork();
    const squid = await startSquid({ hosts: HOSTS });
    const client = await startThrough(network, { env: { https_proxy: `127.0.0.1:${squid.port}` } });
    await expectPage(client, network);
    await client.process.kill();
    // squid logs a tunnel when it ends.
    await until(() => squid.accessLog().includes(`200 CONNECT relay.corp.test:${network.port} -`));
  });
});
