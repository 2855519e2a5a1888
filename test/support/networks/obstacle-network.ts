/** What all obstacles of a file share: a relay by TLS, one without, and a web server that their exits may reach. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type RoutedNetwork, startRoutedNetwork } from '../net/routed-network.ts';
import { payload, sha256 } from '../payload.ts';
import { makeCertificate } from '../programs/certificate.ts';
import { type Nginx, startNginx } from '../programs/nginx.ts';
import { runWell } from '../programs/programs.ts';
import { invite, type RunningRelay, startRelay } from '../programs/wstun-stack.ts';
import { tempDir } from '../temp-dir.ts';
import { OWN_NETWORK } from '../vitest/own-network-flag.ts';

/** A name of the relay that no resolver knows. */
export const RELAY = 'relay.corp.test';
export const PAGE = 'through the tunnel';
/** What the page has in place of host and port of the relay. */
export const RELAY_PLACE = 'relay.example.org:443';
/** What every obstacle has to let through. */
export const FILE_BYTES = 10_000_000;

const certificate = makeCertificate(`DNS:${RELAY},DNS:localhost,IP:127.0.0.1`);

export interface ObstacleNetwork {
  /** By TLS. */
  readonly secure: RunningRelay;
  readonly plain: RunningRelay;
  /** Of the secure relay, PEM files. */
  readonly certificate: { readonly cert: string; readonly key: string };
  /** Trusts it. */
  readonly env: Readonly<Record<string, string>>;
  readonly web: Nginx;
  /** If it was asked for. */
  readonly routed: RoutedNetwork | undefined;
  /** A new name on the list of the relay that the scheme of the URL says. */
  inviteTo(...urls: readonly [string, ...string[]]): Promise<string>;
}

export interface NetworkOptions {
  /** Of the secure relay; default: any. */
  readonly port?: number;
  /** A laptop behind a router; the secure relay also listens at port 443 of all addresses. */
  readonly isRouted?: boolean;
}

export async function startObstacleNetwork({ port, isRouted = false }: NetworkOptions = {}): Promise<ObstacleNetwork> {
  await usePacketsOfEthernet();
  const dir = await tempDir();
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  await Promise.all([writeFile(cert, certificate.cert), writeFile(key, certificate.key, { mode: 0o600 })]);
  const tls = ['--tls-cert', cert, '--tls-key', key];
  const everywhere = isRouted ? ['--listen', '0.0.0.0:443', '--listen', '[::]:443'] : [];
  const [routed, secure, plain, web] = await Promise.all([
    isRouted ? startRoutedNetwork() : undefined,
    startRelay({ args: [...tls, ...everywhere], ...(port !== undefined && { port }) }),
    startRelay(),
    startNginx(`location = / { return 200 "${PAGE}"; }`),
  ]);
  await writeFile(join(web.root, 'file'), payload(FILE_BYTES, 1));
  let names = 0;
  const inviteTo: ObstacleNetwork['inviteTo'] = async (...urls) => {
    names += 1;
    const relay = urls[0].startsWith('wss:') ? secure : plain;
    return await invite(relay, `laptop-${names}`, { allow: ['127.0.0.1'], urls });
  };
  return { secure, plain, certificate: { cert, key }, env: { NODE_EXTRA_CA_CERTS: cert }, web, routed, inviteTo };
}

/**
 * Packets of loopback have 64 KiB, so that hardly one is full: proxies that do not switch Nagle's algorithm off then
 * wait 40 ms for each, which they do on no other path. Only where loopback is that of this file alone.
 */
async function usePacketsOfEthernet(): Promise<void> {
  if (process.env[OWN_NETWORK] !== undefined) await runWell('ip', ['link', 'set', 'lo', 'mtu', '1500']);
}

/** Of the first `bytes` of the web server's file. */
export function hashOfFile(bytes: number): string {
  return sha256(payload(FILE_BYTES, 1).subarray(0, bytes));
}
