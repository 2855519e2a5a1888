/** A relay whose name exists for a proxy alone, a page behind it, and clients that go through the proxy. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { tempDir } from '../temp-dir.ts';
import { makeCertificate } from './certificate.ts';
import { startNginx } from './nginx.ts';
import { runWell } from './programs.ts';
import {
  type ClientOptions,
  invite,
  type RunningClient,
  type RunningRelay,
  startClient,
  startRelay,
} from './wstun-stack.ts';

/** What only the proxies of tests know. */
export const HOSTS = { 'relay.corp.test': '127.0.0.1' };
const certificate = makeCertificate('DNS:relay.corp.test,DNS:localhost,IP:127.0.0.1');

export interface ProxiedNetwork {
  readonly invite: string;
  /** For another URL of the same relay. */
  inviteTo(url: string): Promise<string>;
  /** Of the relay. */
  readonly port: number;
  /** Of a web server that the exit may reach. */
  readonly page: number;
  /** Trusts the certificate of the relay. */
  readonly env: Readonly<Record<string, string>>;
  /** Of the relay, and good for a proxy at 127.0.0.1; PEM. */
  readonly certificate: { readonly cert: string; readonly key: string };
  readonly relay: RunningRelay;
}

/** A relay by TLS whose name only the proxy can resolve. */
export async function startProxiedNetwork(scheme: 'ws' | 'wss' = 'wss'): Promise<ProxiedNetwork> {
  const dir = await tempDir();
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  await writeFile(cert, certificate.cert);
  await writeFile(key, certificate.key, { mode: 0o600 });
  const tls = scheme === 'wss' ? ['--tls-cert', cert, '--tls-key', key] : [];
  const relay = await startRelay({ args: tls });
  const { port: page } = await startNginx('location / { return 200 "through the tunnel"; }');
  const url = `${scheme}://relay.corp.test:${relay.port}`;
  const allow = [`127.0.0.1:${page}`];
  const secret = await invite(relay, 'laptop', { allow, url });
  let others = 0;
  const inviteTo = (other: string) => invite(relay, `other${++others}`, { allow, url: other });
  return { invite: secret, inviteTo, port: relay.port, page, env: { NODE_EXTRA_CA_CERTS: cert }, certificate, relay };
}

export async function startThrough(
  network: ProxiedNetwork,
  { env = {}, ...options }: ClientOptions,
): Promise<RunningClient> {
  return await startClient(network.invite, { ...options, env: { ...network.env, ...env } });
}

export async function expectPage({ port }: RunningClient, { page }: ProxiedNetwork): Promise<void> {
  const shown = await runWell('curl', ['-sS', '-x', `socks5h://127.0.0.1:${port}`, `http://127.0.0.1:${page}/`]);
  expect(shown).toBe('through the tunnel');
}
