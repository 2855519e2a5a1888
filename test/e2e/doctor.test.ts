/**
 * `wstun doctor` in networks that are broken in one way each, and played by real programs: it names that one in 15 s,
 * tells no secret, and says so where nothing is wrong. All share the relays and the web server.
 * @module-tag waits
 */
import { randomBytes } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { accessFile } from '../../src/app/invites.ts';
import { decodeInvite, encodeInvite } from '../../src/crypto/invite.ts';
import { Identity } from '../../src/crypto/keys.ts';
import type { Check } from '../../src/doctor/checks.ts';
import { openStateDir } from '../../src/state/state-dir.ts';
import { startDnsServer } from '../support/net/dns-server.ts';
import { closedPort, echo, tcpServer } from '../support/net/tcp.ts';
import { OBSTACLES } from '../support/networks/all.ts';
import { type ObstacleNetwork, RELAY, startObstacleNetwork } from '../support/networks/obstacle-network.ts';
import { resolveTo, routedOf, setFile } from '../support/networks/paths.ts';
import { makeAuthority, type Pair } from '../support/programs/authority.ts';
import { startNginx } from '../support/programs/nginx.ts';
import { startSquid } from '../support/programs/squid.ts';
import { wrongClock } from '../support/programs/wrong-clock.ts';
import { refuseSecrets, wstun } from '../support/programs/wstun-process.ts';
import { commonEnv } from '../support/programs/wstun-program.ts';
import {
  type ClientOptions,
  invite,
  startBehindRelay,
  startClient,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

/** What `wstun doctor` promises. */
const LIMIT_MS = 15_000;
/** Of the whole process, which on a busy machine takes long to start. */
const PROCESS_MS = 40_000;
const FILE_MS = 240_000;

/** Of the user ann at proxies. */
const PASSWORD = 'correct-horse.battery-9';

interface Setting extends ClientOptions {
  readonly invite: string;
  /** Takes the obstacle away. */
  readonly end?: () => Promise<unknown>;
}

interface Expected {
  /** The code of the cause; left out: a client works. */
  readonly fault?: string;
  /** The code of what is wrong although a client works. */
  readonly remark?: string;
  /** All checks that fail, in order. */
  readonly failed?: readonly string[];
  /** What carries the link in the end. */
  readonly carrier?: 'websocket' | 'http';
  /** What the advice says. */
  readonly fix?: RegExp;
  readonly exitCode?: number;
}

interface SetUp extends Expected {
  readonly what: string;
  start(network: ObstacleNetwork): Promise<Setting>;
}

interface Result {
  readonly getsThrough: boolean;
  readonly isDetour: boolean;
  readonly fault: { readonly code: string; readonly fix: string } | null;
  readonly remark: { readonly code: string; readonly fix: string } | null;
  readonly route: { readonly carrier: string; readonly proxy: string | null } | null;
  readonly ms: number;
  readonly checks: readonly (Check & { readonly code: string | null })[];
}

let network: ObstacleNetwork;
const target = () => ['--target', `http://127.0.0.1:${network.web.port}/file`];

/** Runs it as a user does; what it prints and its report are searched for secrets. */
async function examine({ invite: secret, args = [], env = {}, within = [] }: Setting) {
  const report = join(await tempDir(), 'report.json');
  const all = ['doctor', '--json', '--report', report, '--listen', '127.0.0.1:0', ...target(), ...args];
  const options = { env: { ...commonEnv, ...env, WSTUN_INVITE: secret }, within, limitMs: PROCESS_MS };
  const { code, stdout, stderr } = await wstun(all, options);
  if (stdout === '') throw new Error(`wstun doctor said nothing: ${code} ${stderr}`);
  const written = await readFile(report, 'utf8');
  for (const text of [stdout, stderr, written]) {
    refuseSecrets(text);
    expect(text).not.toContain(PASSWORD);
    expect(text).not.toMatch(/\bann\b/);
  }
  expect((await stat(report)).mode & 0o777).toBe(0o600);
  return { code, result: JSON.parse(stdout) as Result };
}

async function expectFindings({ what, start, ...expected }: SetUp): Promise<void> {
  const setting = await start(network);
  try {
    const { code, result } = await examine(setting);
    const about = `${what}: ${JSON.stringify(result, null, 1)}`;
    const { fault = null, remark = null, failed, carrier, fix, exitCode } = expected;
    expect(result.fault?.code ?? null, about).toBe(fault);
    if (fault === null) expect(result.remark?.code ?? null, about).toBe(remark);
    const found = result.checks.filter(({ state }) => state === 'failed').map(({ name }) => name);
    if (failed !== undefined) expect(found, about).toEqual(failed);
    if (carrier !== undefined) expect(result.route?.carrier, about).toBe(carrier);
    if (fix !== undefined) expect((result.fault ?? result.remark)?.fix, about).toMatch(fix);
    expect(code, about).toBe(exitCode ?? (fault === null ? 0 : 69));
    expect(result.ms, about).toBeLessThan(LIMIT_MS);
  } finally {
    await setting.end?.();
  }
}

/** A row of docs/networks.md, as it is for who does nothing about it. */
function row(what: string, expected: Expected): SetUp {
  const obstacle = OBSTACLES.find((one) => one.what === what);
  if (obstacle === undefined) throw new Error(`no row of docs/networks.md is "${what}"`);
  return {
    ...{ what, ...expected },
    start: async (shared) => {
      const { first, client, invite: usual, end } = await obstacle.start(shared);
      return { ...client, ...first, invite: first?.invite ?? usual, ...(end && { end }) };
    },
  };
}

const authority = makeAuthority('/O=Example/CN=Example Root');

/** A server by TLS that is no relay: its certificate is looked at first. */
async function tlsServer({ cert, key }: Pair): Promise<number> {
  const server = createServer({ cert, key }, (_request, response) => void response.writeHead(404).end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(() => void server.close().closeAllConnections());
  return (server.address() as AddressInfo).port;
}

function certificate(what: string, pair: () => Pair, expected: Expected, trusts = true): SetUp {
  return {
    ...{ what, ...expected, failed: ['tls'] },
    start: async ({ inviteTo }) => {
      const file = join(await tempDir(), 'ca.pem');
      await writeFile(file, authority.cert);
      const secret = await inviteTo(`wss://localhost:${await tlsServer(pair())}`);
      return { invite: secret, args: trusts ? ['--tls-ca', file] : [] };
    },
  };
}

const toSecure = async (
  { inviteTo, secure, env }: ObstacleNetwork,
  args: readonly string[] = [],
): Promise<Setting> => ({ invite: await inviteTo(`wss://localhost:${secure.port}`), env, args });

const behindNginx =
  (location: string) =>
  async ({ inviteTo }: ObstacleNetwork) => ({
    invite: await inviteTo(`ws://127.0.0.1:${(await startNginx(`location / { ${location} }`)).port}`),
  });

const PROXIES: readonly SetUp[] = [
  row('a proxy that wants a password, Basic', { fault: 'WSTUN-E251', failed: ['proxy'], fix: /--proxy-auth-file/ }),
  {
    ...{ what: 'a proxy that is given a wrong password', fault: 'WSTUN-E252', failed: ['proxy'] },
    start: async (shared) => {
      const { port } = await startSquid({ schemes: ['basic'], users: { ann: 'another-one' } });
      return await toSecure(shared, ['--proxy', `http://ann:${PASSWORD}@127.0.0.1:${port}`]);
    },
  },
  row('a proxy that allows only port 443', { fault: 'WSTUN-E253', failed: ['proxy'], fix: /only port 443/ }),
  {
    what: 'a proxy that is the only way out, in a variable that wstun does not read',
    ...{ fault: 'WSTUN-E175', failed: ['names'], fix: /wstun client gets through with --proxy "\$HTTP_PROXY"/ },
    start: async ({ inviteTo, secure, env }) => {
      const { port } = await startSquid({ hosts: { [RELAY]: '127.0.0.1' } });
      const HTTP_PROXY = `http://ann:${PASSWORD}@127.0.0.1:${port}`;
      return { invite: await inviteTo(`wss://${RELAY}:${secure.port}`), env: { ...env, HTTP_PROXY } };
    },
  },
  row('a proxy that inspects TLS, its authority not trusted', { fault: 'WSTUN-E241', failed: ['tls'] }),
];

const FRONTS: readonly SetUp[] = [
  row('a front that removes the upgrade', { remark: 'WSTUN-E219', failed: ['websocket'], carrier: 'http' }),
  row('a box that resets each WebSocket right behind its 101', {
    ...{ remark: 'WSTUN-E211', failed: ['websocket'], carrier: 'http' },
  }),
  row('a box that swallows all that follows the 101', {
    ...{ remark: 'WSTUN-E206', failed: ['websocket'], carrier: 'http' },
  }),
  {
    ...{ what: 'a filter that answers 403', fault: 'WSTUN-E204', failed: ['websocket', 'http'] },
    start: behindNginx('return 403;'),
  },
  {
    ...{ what: 'a front whose relay is down', fault: 'WSTUN-E204', failed: ['websocket', 'http'] },
    start: async (shared) => await behindNginx(`proxy_pass http://127.0.0.1:${await closedPort()};`)(shared),
  },
];

const CERTIFICATES: readonly SetUp[] = [
  certificate('a certificate that has expired', () => authority.issue('DNS:localhost', -1), { fault: 'WSTUN-E243' }),
  certificate(
    'a certificate of an unknown authority',
    () => authority.issue('DNS:localhost'),
    {
      fault: 'WSTUN-E203',
    },
    false,
  ),
  certificate('a certificate for another name', () => authority.issue('DNS:other.example'), { fault: 'WSTUN-E242' }),
  {
    ...{ what: 'a pin that is not that of the relay', fault: 'WSTUN-E244', failed: ['tls'] },
    start: (shared) => toSecure(shared, ['--tls-pin', `sha256/${Buffer.alloc(32, 7).toString('base64')}`]),
  },
];

const RELAYS: readonly SetUp[] = [
  {
    ...{ what: 'a relay that is down', fault: 'WSTUN-E201', failed: ['tcp'], fix: /nothing listens/ },
    start: async ({ inviteTo }) => ({ invite: await inviteTo(`ws://127.0.0.1:${await closedPort()}`) }),
  },
  {
    what: 'an invite that was revoked',
    ...{ fault: 'WSTUN-E202', failed: ['websocket', 'http', 'ticket'], fix: /most likely the invite was revoked/ },
    exitCode: 77,
    start: async ({ secure, env }) => {
      const revoked = await invite(secure, 'revoked', { urls: [`wss://localhost:${secure.port}`] });
      const reloads = () => secure.process.stderr.split('access list reloaded').length;
      const before = reloads();
      await accessFile(await openStateDir(secure.state)).remove('revoked');
      await until(() => reloads() > before);
      return { invite: revoked, env };
    },
  },
  {
    ...{ what: 'an exit that is not connected', fault: 'WSTUN-E212', failed: ['exit'] },
    start: async () => {
      const { exit } = await startBehindRelay();
      const secret = await invite(exit, 'alice', { allow: ['*'] });
      // The relay knows alice from then on.
      const { process } = await startClient(secret);
      await Promise.all([process.kill(), exit.process.kill()]);
      return { invite: secret };
    },
  },
  {
    what: 'an invite that pins another key of the exit',
    ...{ fault: 'WSTUN-E211', failed: ['websocket', 'http', 'handshake'], fix: /does not have the key/ },
    start: async (shared) => {
      const setting = await toSecure(shared);
      const exitSessionKey = new Identity(randomBytes(32)).public.session;
      return { ...setting, invite: encodeInvite({ ...decodeInvite(setting.invite), exitSessionKey }) };
    },
  },
  {
    ...{ what: 'a clock that is a day ahead', remark: 'WSTUN-E221', failed: ['clock'], carrier: 'websocket' },
    start: async ({ inviteTo, plain }) => ({ invite: await inviteTo(plain.url), env: await wrongClock(86_400) }),
  },
];

const EXITS: readonly SetUp[] = [
  {
    ...{ what: 'a target that the exit does not allow', fault: 'WSTUN-E304', failed: ['policy'] },
    start: (shared) => toSecure(shared, ['--target', '127.0.0.2:80']),
  },
  {
    ...{ what: 'a name server of the exit that does not answer', fault: 'WSTUN-E307', failed: ['resolver'] },
    start: async () => {
      const silent = { addresses: [], silent: ['A', 'AAAA'] } as const;
      const dns = await startDnsServer({ 'git.corp.test': silent });
      atEnd(() => dns.close());
      const relay = await startRelay({ dns });
      return { invite: await invite(relay, 'alice', { allow: ['*'] }), args: ['--target', 'git.corp.test:22'] };
    },
  },
  {
    ...{ what: 'a port of the proxy that another program has', fault: 'WSTUN-E104', failed: ['listen'] },
    start: async (shared) => await toSecure(shared, ['--listen', `127.0.0.1:${await tcpServer(echo)}`]),
  },
];

/** Without what earlier visits have left. */
const onLaptop = async (shared: ObstacleNetwork) => ({
  ...{ env: { ...shared.env, XDG_STATE_HOME: await tempDir() }, within: routedOf(shared).there },
});

/** One after another: they change the laptop's network. */
const NETWORKS: readonly SetUp[] = [
  row('a firewall that lets out ports 443 and 53 only', { remark: 'WSTUN-E201', failed: ['tcp'] }),
  row('a captive portal that leads http:// and https:// to its login', {
    ...{ fault: 'WSTUN-E270', failed: ['tls'], fix: /login\.hotel\.example/ },
  }),
  row('a network with IPv6 only', { failed: [], carrier: 'websocket' }),
];

/** The same. */
const NAME_SERVERS: readonly SetUp[] = [
  row('a name server that answers with a private address, after a first visit', {
    ...{ remark: 'WSTUN-E176', carrier: 'websocket' },
  }),
  {
    what: 'a name server that answers with a private address, where nobody was before',
    ...{ fault: 'WSTUN-E176', failed: ['tcp'] },
    start: async (shared) => {
      const end = await resolveTo(routedOf(shared), '10.79.1.1');
      return { invite: await shared.inviteTo(`wss://${RELAY}`), ...(await onLaptop(shared)), end };
    },
  },
  {
    ...{ what: 'a name server that does not answer', fault: 'WSTUN-E175', failed: ['names'] },
    start: async (shared) => {
      const { laptop } = routedOf(shared);
      await setFile(laptop, 'hosts', '127.0.0.1 localhost\n');
      await setFile(laptop, 'resolv.conf', 'nameserver 10.79.1.77\n');
      return { invite: await shared.inviteTo(`wss://${RELAY}`), ...(await onLaptop(shared)) };
    },
  },
];

beforeAll(async () => {
  network = await startObstacleNetwork({ isRouted: true });
}, FILE_MS);

/** So many at a time, as a machine has few cores. */
async function inPairs(setUps: readonly SetUp[]): Promise<void> {
  const waiting = [...setUps];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await expectFindings(next);
  };
  await Promise.all([work(), work()]);
}

describe('wstun doctor', { timeout: FILE_MS }, () => {
  it('all is well in a network that is, and a program may already use the port', async () => {
    const setting = await toSecure(network);
    const { result, code } = await examine(setting);
    const works = result.checks.filter(({ state }) => state === 'ok').map(({ name }) => name);
    expect(code, JSON.stringify(result)).toBe(0);
    const path = ['environment', 'listen', 'names', 'tcp', 'tls', 'websocket', 'clock', 'ticket', 'handshake', 'exit'];
    expect(works).toEqual([...path, 'round-trip', 'policy', 'target', 'throughput']);
    const client = await startClient(setting.invite, setting);
    const listen = ['--listen', `127.0.0.1:${client.port}`];
    const beside = await examine({ ...setting, args: listen });
    expect(beside.result.checks.find(({ name }) => name === 'listen')?.detail).toMatch(/already running/);
    expect(beside.code).toBe(0);
  });

  it('names what is wrong with a proxy, and which one would help', () => inPairs(PROXIES));
  it('names what is in front of a relay, and that HTTP requests get through', () => inPairs(FRONTS));
  it('names what is wrong with a certificate', () => inPairs(CERTIFICATES));
  it('names what is wrong with a relay, an invite or a clock', () => inPairs(RELAYS));
  it('names what an exit or this machine does not do', () => inPairs(EXITS));

  it('names what is wrong with a network and its firewall', async () => {
    for (const setUp of NETWORKS) await expectFindings(setUp);
  });

  it('names what is wrong with a name server', async () => {
    for (const setUp of NAME_SERVERS) await expectFindings(setUp);
  });

  it('prints a line for each check, what is wrong, and by what a client gets through', async () => {
    const front = FRONTS[0];
    const { invite: secret } = (await front?.start(network)) ?? { invite: '' };
    const env = { ...commonEnv, WSTUN_INVITE: secret };
    const args = ['doctor', '--listen', '127.0.0.1:0', ...target()];
    const inUtf8 = await wstun(args, { env });
    const lines = Buffer.from(inUtf8.stdout, 'latin1').toString('utf8').split('\n');
    expect(lines).toContainEqual(
      expect.stringMatching(/^✖ WebSocket {6}.*drops the WebSocket upgrade.*\(WSTUN-E219\)/),
    );
    expect(lines).toContainEqual(expect.stringMatching(/^✔ HTTP link {6}127\.0\.0\.1:\d+ {2}\d+ ms$/));
    expect(lines).toContainEqual(expect.stringMatching(/^– TLS /));
    expect(lines).toContainEqual(expect.stringMatching(/^→ Let the web server or proxy in front of the relay pass/));
    expect(lines.at(-2)).toMatch(/^✔ wstun client gets through to 127\.0\.0\.1:\d+ directly by HTTP requests\. \(/);
    const inAscii = await wstun(args, { env: { ...env, LC_ALL: 'C' } });
    expect(inAscii.stdout).toMatch(/^x WebSocket/m);
    expect(inAscii.stdout).toMatch(/^\+ wstun client gets through/m);
  });
});
