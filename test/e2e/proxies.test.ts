/**
 * Networks that only a proxy leads out of, with real proxies: the relay's name exists for the proxy alone.
 * @module-tag waits
 */
import { readFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { closedPort } from '../support/net/tcp.ts';
import {
  expectPage,
  HOSTS,
  type ProxiedNetwork,
  startProxiedNetwork,
  startThrough,
} from '../support/programs/proxied-network.ts';
import { type SquidOptions, startSquid } from '../support/programs/squid.ts';
import { type WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { spawnClient } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

let network: ProxiedNetwork;

beforeAll(async () => {
  network = await startProxiedNetwork();
});

/** squid makes names of Basic lower case, and loses the backslash of those of Digest. */
const USER = 'corp\\ann';
const PASSWORD = 's3cret p@ss:%/w';
/** As a person writes them, and as they travel. */
const SECRETS = [
  PASSWORD,
  encodeURIComponent(PASSWORD),
  ...[USER, 'ann'].map((user) => Buffer.from(`${user}:${PASSWORD}`).toString('base64')),
];

async function passwordFile(line: string): Promise<string> {
  const file = join(await tempDir(), 'proxy-password');
  await writeFile(file, `${line}\n`, { mode: 0o600 });
  return file;
}

/** In its output and its logs, and in `ps`. */
function expectNoSecret(process: WstunProcess): void {
  const shown = process.stdout + process.stderr + readFileSync(`/proc/${process.pid}/cmdline`, 'latin1');
  for (const secret of [...SECRETS, 'Proxy-Authorization']) expect(shown).not.toContain(secret);
}

const SCHEMES: readonly (readonly [user: string, schemes: SquidOptions['schemes']])[] = [
  [USER, ['basic']],

  [USER, ['ntlm']],
  ['ann', ['ntlm', 'digest', 'basic']],
];

describe('a client behind a proxy', () => {
  it('reaches the relay by the proxy of https_proxy, which alone can resolve its name', async () => {
    const squid = await startSquid({ hosts: HOSTS });
    const client = await startThrough(network, { env: { https_proxy: `127.0.0.1:${squid.port}` } });
    await expectPage(client, network);
    await client.process.kill();
    // squid logs a tunnel when it ends.
    await until(() => squid.accessLog().includes(`200 CONNECT relay.corp.test:${network.port} -`));
  });

  it('answers squid by Basic, Digest and NTLM, and shows its password nowhere', async () => {
    await Promise.all(
      SCHEMES.map(async ([user, schemes = []]) => {
        const file = await passwordFile(`${user}:${PASSWORD}`);
        const squid = await startSquid({ schemes, hosts: HOSTS, users: { [user]: PASSWORD } });
        const args = ['-v', '--proxy', `http://127.0.0.1:${squid.port}`, '--proxy-auth-file', file];
        const client = await startThrough(network, { args });
        await expectPage(client, network);
        expectNoSecret(client.process);
        await client.process.kill();
        const used = `200 CONNECT relay.corp.test:${network.port} ${user}`;
        await until(() => squid.accessLog().some((line) => line.replace('%5C', '\\') === used));
      }),
    );
  });

  it('says that the password is wrong, sends it once, and tries a changed file at once', async () => {
    const file = await passwordFile(`${USER}:wrong`);
    const squid = await startSquid({ schemes: ['basic'], hosts: HOSTS, users: { [USER]: PASSWORD } });
    const args = ['-v', '--proxy', `http://127.0.0.1:${squid.port}`, '--proxy-auth-file', file];
    const client = spawnClient(network.invite, { args, env: network.env });
    const { code, message } = await client.event('retrying');
    expect([code, message]).toEqual(['WSTUN-E252', expect.stringContaining('wrong password')]);
    // Two further attempts.
    for (let i = 0; i < 2; i++) await client.event('retrying');
    expect(squid.accessLog().filter((line) => line.includes('ann'))).toHaveLength(1);
    await writeFile(file, `${USER}:${PASSWORD}\n`);
    await client.event('ready');
    expectNoSecret(client);
  });

  it('rejects a password file that others can read, or that holds something else', async () => {
    const file = await passwordFile(`${USER}:${PASSWORD}`);
    await chmod(file, 0o640);
    const run = async (path: string) => {
      const args = ['client', '--listen', '127.0.0.1:0', '--proxy', '127.0.0.1:9', '--proxy-auth-file', path];
      const { code, stderr } = await wstun(args, { env: { WSTUN_INVITE: network.invite } });
      expect(stderr).not.toContain(PASSWORD);
      expect([code, stderr]).toEqual([78, expect.stringContaining('WSTUN-E260')]);
      return stderr;
    };
    expect(await run(file)).toContain(`others can read it: chmod 600 ${file}`);
    expect(await run(await passwordFile(PASSWORD.replace(':', ' ')))).toContain('not user:password');
    expect(await run('/nowhere/at/all')).toContain('it does not exist');
  });

  it('says that the command of --proxy-auth-command failed, with its exit code', async () => {
    const squid = await startSquid({ schemes: ['negotiate'], hosts: HOSTS });
    const args = ['--proxy', `127.0.0.1:${squid.port}`, '--proxy-auth-command', 'exit 3'];
    const env = { ...network.env, WSTUN_INVITE: network.invite };
    const { stderr } = await wstun(['client', '--once', '--listen', '127.0.0.1:0', ...args], { env });
    expect(stderr).toMatch(/proxy-auth-command failed: it ended with 3\..*WSTUN-E259/);
  });

  it('takes a password from WSTUN_PROXY, and shows neither the URL nor its parts', async () => {
    const squid = await startSquid({ schemes: ['digest'], hosts: HOSTS, users: { ann: PASSWORD } });
    const userInfo = `ann:${encodeURIComponent(PASSWORD)}`;
    const env = { WSTUN_PROXY: `http://${userInfo}@127.0.0.1:${squid.port}` };
    const client = await startThrough(network, { args: ['-v'], env });
    await expectPage(client, network);
    expectNoSecret(client.process);
  });

  it('says which schemes the proxy offers, and that it cannot reach the relay', async () => {
    const gone = await closedPort();
    const cases = [
      { squid: { schemes: ['negotiate', 'ntlm'] }, code: 'WSTUN-E251', says: /it offers Negotiate, NTLM\./ },
      { squid: {}, url: `wss://gone.corp.test:${gone}`, code: 'WSTUN-E254', says: /gone\.corp\.test:\d+: HTTP 503/ },
    ] as const;
    await Promise.all(
      cases.map(async ({ squid: options, code, says, ...more }) => {
        const squid = await startSquid({
          ...options,
          hosts: { ...HOSTS, 'gone.corp.test': '127.0.0.1' },
        } as SquidOptions);
        const secret = 'url' in more ? await network.inviteTo(more.url) : network.invite;
        const args = ['client', '--once', '--listen', '127.0.0.1:0', '--proxy', `127.0.0.1:${squid.port}`];
        const outcome = await wstun(args, { env: { ...network.env, WSTUN_INVITE: secret } });
        expect(outcome.stderr).toMatch(says);
        expect([outcome.code, outcome.stderr]).toEqual([69, expect.stringContaining(code)]);
      }),
    );
  });
});
