/** Obstacles: a proxy that reads what is inside TLS, and a file that says which proxy is for which name. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, startServer } from '../programs/programs.ts';
import { startSquid } from '../programs/squid.ts';
import { tempDir } from '../temp-dir.ts';
import type { Course, Obstacle } from './obstacle.ts';
import { type ObstacleNetwork, RELAY, RELAY_PLACE } from './obstacle-network.ts';
import { PROXY } from './proxies.ts';

interface Inspector {
  readonly port: number;
  /** Of its authority, PEM. */
  readonly ca: string;
}

/** It trusts the relay, whose certificate no public authority has issued. */
async function startInspector({ certificate }: ObstacleNetwork): Promise<Inspector> {
  const [port, confdir] = [await freePort(), await tempDir()];
  const listen = ['--listen-host', '127.0.0.1', '--listen-port', String(port)];
  const trust = ['--set', `ssl_verify_upstream_trusted_ca=${certificate.cert}`];
  await startServer('mitmdump', ['-q', ...listen, '--set', `confdir=${confdir}`, ...trust], port);
  return { port, ca: join(confdir, 'mitmproxy-ca-cert.pem') };
}

interface Inspected {
  readonly inspector: Inspector;
  readonly args: readonly string[];
  readonly course: Pick<Course, 'invite' | 'names'>;
}

async function inspected(network: ObstacleNetwork): Promise<Inspected> {
  const inspector = await startInspector(network);
  const invite = await network.inviteTo(`wss://localhost:${network.secure.port}`);
  const names = [
    [`127.0.0.1:${inspector.port}`, `${PROXY}:3128`],
    [`localhost:${network.secure.port}`, RELAY_PLACE],
    [/sha256\/[\w+/=]{44}/g, 'sha256/…'],
  ] as const;
  return { inspector, args: ['--proxy', `http://127.0.0.1:${inspector.port}`], course: { invite, names } };
}

const UNTRUSTED: Obstacle = {
  what: 'a proxy that inspects TLS, its authority not trusted',
  program: 'mitmproxy',
  helps: '`--tls-ca FILE`',
  says:
    `something on this network inspects TLS: ${RELAY_PLACE} through http://${PROXY}:3128: the certificate is from ` +
    '"mitmproxy, mitmproxy" (mitmproxy). It cannot read your data, which only the exit can open, but it would see ' +
    'when and how much is sent. If you accept that, give a file with its CA: --tls-ca FILE, or the pin of its key: ' +
    '--tls-pin sha256/…. (WSTUN-E241)',
  start: async (network) => {
    const { inspector, args, course } = await inspected(network);
    return { ...course, first: { args }, client: { args: [...args, '--tls-ca', inspector.ca] } };
  },
};

const TRUSTED: Obstacle = {
  what: 'a proxy that inspects TLS, its authority trusted by the system',
  program: 'mitmproxy',
  helps: '',
  says: `connected through proxy http://${PROXY}:3128 by WebSocket`,
  start: async (network) => {
    const { inspector, args, course } = await inspected(network);
    return { ...course, client: { args, env: { SSL_CERT_FILE: inspector.ca } } };
  },
};

const PAC: Obstacle = {
  what: 'a PAC file that sends only some names to the proxy',
  program: 'squid',
  helps: '`--proxy pac+https://HOST/FILE`',
  says: `connected through proxy http://${PROXY}:3128 by WebSocket`,
  start: async (network) => {
    const { port } = await startSquid({ hosts: { [RELAY]: '127.0.0.1' } });
    const file = join(await tempDir(), 'proxy.pac');
    const rule = `dnsDomainIs(host, '.corp.test') ? 'PROXY 127.0.0.1:${port}' : 'DIRECT'`;
    await writeFile(file, `function FindProxyForURL(url, host) { return ${rule}; }`);
    return {
      invite: await network.inviteTo(`wss://${RELAY}:${network.secure.port}`),
      client: { args: ['--proxy', `pac+file:${file}`], env: network.env },
      names: [[`127.0.0.1:${port}`, `${PROXY}:3128`]],
    };
  },
};

export const INSPECTORS: readonly Obstacle[] = [UNTRUSTED, TRUSTED, PAC];
