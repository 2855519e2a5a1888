/** Obstacles: proxies that are the only way out, and ask who is there. What passes in front of each is kept. */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type RecordingProxy, recordingProxy } from '../net/recording-proxy.ts';
import { startDanted } from '../programs/danted.ts';
import { startRealm } from '../programs/kerberos.ts';
import { type SquidScheme, startSquid } from '../programs/squid.ts';
import { startTinyproxy } from '../programs/tinyproxy.ts';
import { tempDir } from '../temp-dir.ts';
import type { Course, Name, Obstacle } from './obstacle.ts';
import { type ObstacleNetwork, RELAY } from './obstacle-network.ts';

export const PROXY = 'proxy.corp.example';
const USER = 'ann';
const PASSWORD = 'correct-horse.battery-9';
const HOSTS = { [RELAY]: '127.0.0.1' };

const BY_FILE = '`--proxy-auth-file FILE`';
const HELP_OF_SCHEMES =
  'Give a user name and a password with --proxy-auth-file FILE, or the answer to another scheme with ' +
  '--proxy-auth-command CMD.';
const offers = (scheme: string): string => `it offers ${scheme}. ${HELP_OF_SCHEMES}`;

/** A proxy between two that record: what it alone may see, and what passed behind it. */
interface Recorded {
  readonly front: RecordingProxy;
  readonly back: RecordingProxy;
  /** Of the front, without a scheme. */
  readonly address: string;
  readonly invite: string;
  readonly names: readonly Name[];
}

interface ProxyRow {
  readonly what: string;
  readonly program: string;
  readonly scheme?: 'http' | 'socks5h';
  /** Host of the relay's URL; default: a name that only the proxy knows. */
  readonly relay?: string;
  /** Why it does not let in who has no password, and what helps. */
  readonly says: string;
  /** Returns the port. */
  start(): Promise<number>;
}

async function record(network: ObstacleNetwork, proxyPort: number, relay = RELAY): Promise<Recorded> {
  const [front, back] = await Promise.all([recordingProxy(proxyPort), recordingProxy(network.secure.port)]);
  const address = `127.0.0.1:${front.port}`;
  const invite = await network.inviteTo(`wss://${relay}:${back.port}`);
  return { front, back, address, invite, names: [[address, `${PROXY}:3128`]] };
}

/** What was sent to the proxy to say who is there, of each request. */
function answersIn({ front }: Recorded): string[] {
  return front
    .recorded()
    .flatMap((bytes) => [...bytes.toString('latin1').matchAll(/^proxy-authorization: \w+ (.+?)\r$/gim)])
    .flatMap(([, value = '']) => [
      value,
      ...[...value.matchAll(/(?:response|cnonce)="([^"]+)"/g)].map((match) => match[1] ?? ''),
    ]);
}

function asksForPassword({ what, program, scheme = 'http', relay, says, start }: ProxyRow): Obstacle {
  return {
    ...{ what, program, helps: BY_FILE },
    says: `the proxy asks for credentials: ${scheme}://${PROXY}:3128: ${says} (WSTUN-E251)`,
    start: async (network) => {
      const recorded = await record(network, await start(), relay);
      const file = join(await tempDir(), 'password');
      await writeFile(file, `${USER}:${PASSWORD}\n`, { mode: 0o600 });
      const args = ['--proxy', `${scheme}://${recorded.address}`];
      return {
        ...recorded,
        first: { args, env: network.env },
        client: { args: [...args, '--proxy-auth-file', file], env: network.env },
        secrets: () => [PASSWORD, `${USER}:${PASSWORD}`, ...answersIn(recorded)],
        beyond: () => recorded.back.recorded(),
      };
    },
  };
}

async function squid(scheme: SquidScheme): Promise<number> {
  return (await startSquid({ schemes: [scheme], hosts: HOSTS, users: { [USER]: PASSWORD } })).port;
}

/** As docs/proxies.md shows it. */
async function negotiateScript(): Promise<string> {
  const page = readFileSync(new URL('../../../docs/proxies.md', import.meta.url), 'utf8');
  const script = /```python\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const file = join(await tempDir(), 'negotiate.py');
  await writeFile(file, script);
  return file;
}

async function startKerberos(network: ObstacleNetwork): Promise<Course> {
  const realm = await startRealm('HTTP/localhost');
  const helper = `/usr/lib/squid/negotiate_kerberos_auth -k ${realm.keytab} -s ${realm.service}`;
  const { port } = await startSquid({
    hosts: HOSTS,
    env: realm.env,
    lines: [
      `auth_param negotiate program ${helper}`,
      'auth_param negotiate children 1',
      'acl known proxy_auth REQUIRED',
      'http_access deny !known',
    ],
  });
  const recorded = await record(network, port);
  // The service in the ticket has the proxy's name.
  const proxy = `http://localhost:${recorded.front.port}`;
  const [tickets, script] = await Promise.all([realm.logIn('alice'), negotiateScript()]);
  const command = ['--proxy-auth-command', `/usr/bin/python3 ${script}`];
  return {
    ...recorded,
    names: [[`localhost:${recorded.front.port}`, `${PROXY}:3128`]],
    first: { args: ['--proxy', proxy], env: network.env },
    client: { args: ['--proxy', proxy, ...command], env: { ...network.env, ...tickets } },
    secrets: () => answersIn(recorded),
    beyond: () => recorded.back.recorded(),
  };
}

const KERBEROS: Obstacle = {
  what: 'a proxy that wants Kerberos (Negotiate)',
  program: 'squid, negotiate_kerberos_auth, krb5-kdc',
  helps: "`--proxy-auth-command 'python3 negotiate.py'` ([proxies.md](proxies.md))",
  says: `the proxy asks for credentials: http://${PROXY}:3128: ${offers('Negotiate')} (WSTUN-E251)`,
  start: startKerberos,
};

const ONLY_443: Obstacle = {
  what: 'a proxy that allows only port 443',
  program: 'squid, `http_access deny CONNECT !SSL_ports`',
  helps: 'the relay at port 443',
  says: `the proxy does not allow this connection: http://${PROXY}:3128, asked for relay.example.org:8443: HTTP 403. Many proxies allow only port 443: the relay must listen there, or whoever runs the proxy must allow its port. (WSTUN-E253)`,
  start: async (network) => {
    const { port } = await startSquid({ hosts: HOSTS, ports: [443] });
    const [elsewhere, there] = [await recordingProxy(network.secure.port), network.secure.port];
    const args = ['--proxy', `http://127.0.0.1:${port}`];
    return {
      invite: await network.inviteTo(`wss://${RELAY}:${there}`),
      first: { args, env: network.env, invite: await network.inviteTo(`wss://${RELAY}:${elsewhere.port}`) },
      client: { args, env: network.env },
      names: [
        [`127.0.0.1:${port}`, `${PROXY}:3128`],
        [`${RELAY}:${elsewhere.port}`, 'relay.example.org:8443'],
      ],
    };
  },
};

/** The relay must listen at port 443. */
export const PROXIES: readonly Obstacle[] = [
  asksForPassword({
    ...{ what: 'a proxy that wants a password, Basic', program: 'squid, basic_ncsa_auth', says: offers('Basic') },
    start: () => squid('basic'),
  }),
  asksForPassword({
    ...{ what: 'a proxy that wants a password, Digest', program: 'squid, digest_file_auth', says: offers('Digest') },
    start: () => squid('digest'),
  }),
  asksForPassword({
    ...{ what: 'a proxy that wants a password, NTLM', program: 'squid, ntlm_fake_auth', says: offers('NTLM') },
    start: () => squid('ntlm'),
  }),
  KERBEROS,
  asksForPassword({
    ...{ what: 'a proxy that answers as HTTP/1.0, with Basic', program: 'tinyproxy', says: offers('Basic') },
    relay: 'localhost',
    start: () => startTinyproxy([`BasicAuth ${USER} ${PASSWORD}`]),
  }),
  asksForPassword({
    ...{ what: 'a SOCKS5 proxy that wants a password', program: 'Dante' },
    says: 'it accepts nobody without them. Give a user name and a password with --proxy-auth-file FILE.',
    ...{ scheme: 'socks5h', relay: 'localhost' },
    start: () => startDanted('username', '', { [USER]: PASSWORD }),
  }),
  ONLY_443,
];
