/**
 * Pebble, Let's Encrypt's ACME server for tests: a certificate authority that validates as a real one does, over ports
 * that a test chooses. It rejects a part of the nonces, as a client must be able to stand.
 */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { type DnsEntry, startDnsServer } from '../net/dns-server.ts';
import { atEnd } from '../scope.ts';
import { tempDir } from '../temp-dir.ts';
import { makeCertificate } from './certificate.ts';
import { freePort, startServer } from './programs.ts';

export interface Pebble {
  /** For `--acme-directory`. */
  readonly directory: string;
  /** For `--acme-ca`: a file. */
  readonly caFile: string;
  /** PEM text of the root above the certificates that it issues. */
  readonly root: string;
}

export interface PebbleOptions {
  readonly names: Readonly<Record<string, DnsEntry>>;
  /** Where it looks for the answers of the two challenges, on 127.0.0.1. */
  readonly tlsPort: number;
  readonly httpPort?: number;
  /** Only who knows this account gets certificates (RFC 8555 §7.3.4); the key in base64url. */
  readonly account?: { readonly id: string; readonly key: string };
  /** Of the test, at which other machines reach it, too. Default: only this machine does. */
  readonly address?: string;
}

export async function startPebble({
  names,
  tlsPort,
  httpPort = 1,
  account,
  address = '127.0.0.1',
}: PebbleOptions): Promise<Pebble> {
  const dns = await startDnsServer({ ...names });
  atEnd(() => dns.close());
  const dir = await tempDir();
  const { cert, key } = makeCertificate(`IP:127.0.0.1,IP:${address}`);
  const [caFile, keyFile, config] = ['cert.pem', 'key.pem', 'config.json'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  const [port, management] = [await freePort(), await freePort()];
  const settings = {
    listenAddress: `${address === '127.0.0.1' ? address : '0.0.0.0'}:${port}`,
    managementListenAddress: `127.0.0.1:${management}`,
    certificate: caFile,
    privateKey: keyFile,
    httpPort,
    tlsPort,
    ocspResponderURL: '',
    externalAccountBindingRequired: account !== undefined,
    ...(account && { externalAccountMACKeys: { [account.id]: account.key } }),
  };
  await writeFile(caFile, cert);
  await writeFile(keyFile, key);
  await writeFile(config, JSON.stringify({ pebble: settings }));
  const env = { PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '20' };
  await startServer('pebble', ['-config', config, '-dnsserver', dns.address], port, { env });
  const root = await fetchText(`https://127.0.0.1:${management}/roots/0`, cert);
  return { directory: `https://${address}:${port}/dir`, caFile, root: new X509Certificate(root).toString() };
}

async function fetchText(url: string, ca: string): Promise<string> {
  const [response] = await once(get(url, { ca }), 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

/** In front of a directory: counts connections, and holds those that come before `open`. */
export interface Turnstile {
  readonly directory: string;
  readonly connections: number;
  open(): void;
}

export async function startTurnstile(directory: string): Promise<Turnstile> {
  const { port } = new URL(directory);
  let connections = 0;
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const server = createServer({ pauseOnConnect: true }, (near) => {
    connections += 1;
    near.on('error', () => {});
    void opened.then(() => {
      const far = connect(Number(port), '127.0.0.1');
      far.on('error', () => {}).on('close', () => near.destroy());
      near.on('close', () => far.destroy());
      near.pipe(far).pipe(near);
      near.resume();
    });
  }).listen(0, '127.0.0.1');
  atEnd(() => server.close());
  await once(server, 'listening');
  return {
    directory: `https://127.0.0.1:${(server.address() as AddressInfo).port}/dir`,
    get connections() {
      return connections;
    },
    open,
  };
}
