/** @module-tag waits */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openClusterAccess } from '../../src/app/cluster-access.ts';
import { newEntry } from '../../src/app/invites.ts';
import { createIdentity } from '../../src/crypto/keys.ts';
import { type Authority, makeAuthority } from '../support/programs/authority.ts';
import { type NatsServer, startNats } from '../support/programs/nats.ts';
import { makeAccounts } from '../support/programs/nats-accounts.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const LIMIT = { timeout: 120_000 };
const EXPIRES_S = 6;
/** docs/scaling.md lists them. */
const SUBJECTS = ['wstun.>', '$KV.>', '$JS.API.>', '$JS.FC.>', '_INBOX.>'];

/** A server with TLS, at which `relay` may use the subjects above and `nothing` none. */
async function startGuarded() {
  const dir = await tempDir();
  const file = (name: string) => join(dir, name);
  const authority: Authority = makeAuthority('/CN=nats');
  const { cert, key } = authority.issue('IP:127.0.0.1,DNS:localhost');
  const rules = JSON.stringify(SUBJECTS);
  const user = (name: string, allow: string) =>
    `{ user: ${name}, password: "pass word", permissions: { publish: { allow: ${allow} }, subscribe: { allow: ${allow} } } }`;
  const config = `
    tls { cert_file: "${file('cert.pem')}", key_file: "${file('key.pem')}" }
    authorization { users: [ ${user('relay', rules)}, ${user('nothing', '["_INBOX.>"]')} ] }
  `;
  const texts = { 'ca.pem': authority.cert, 'cert.pem': cert, 'key.pem': key, 'nats.conf': config };
  for (const [name, text] of Object.entries(texts)) await writeFile(file(name), text, { mode: 0o600 });
  const [server] = await startNats(1, { args: ['-c', file('nats.conf')] });
  return { server: server as NatsServer, ca: file('ca.pem') };
}

describe('NATS with TLS and logins', () => {
  it('a relay needs no more permissions than docs/scaling.md lists, and shows no password', LIMIT, async () => {
    const { server, ca } = await startGuarded();
    const url = `tls://relay:pass%20word@127.0.0.1:${server.ports.client}`;
    const options = ['--cluster', url, '--cluster-ca', ca, '--url', 'ws://127.0.0.1:1', '-v'];
    const relays = [
      await startRelay({ args: options }),
      await startRelay({ args: options.with(5, 'ws://127.0.0.1:2') }),
    ];
    const access = await openClusterAccess({ servers: [url], caFile: ca });
    await access.list.add({ ...newEntry('alice', { limits: { quota: 5_000_000 } }), key: createIdentity().public });
    for (const { process } of relays) await until(() => process.stderr.includes('"entries":1'));
    expect((await access.list.read()).map(({ name }) => name)).toEqual(['alice']);
    await access.usage(Date.now());
    await access.close();
    const { stdout } = await wstun(['relay', 'status', '--cluster', url, '--cluster-ca', ca, '--json']);
    expect(stdout.trimEnd().split('\n')).toHaveLength(2);
    for (const { process } of relays) {
      expect(process.stderr).not.toMatch(/WSTUN-E28|pass word|pass%20word/);
      expect(JSON.stringify(process.events)).not.toMatch(/pass( |%20)word/);
    }
  });

  it(
    'a wrong password, a login without permissions and an unknown authority are told apart, and a relay starts all the same',
    LIMIT,
    async () => {
      const { server, ca } = await startGuarded();
      const { client: port } = server.ports;
      const cases = [
        [`tls://relay:wrong@127.0.0.1:${port}`, ca, 'WSTUN-E281'],
        [`tls://nothing:pass%20word@127.0.0.1:${port}`, ca, 'WSTUN-E281'],
        [`tls://relay:pass%20word@127.0.0.1:${port}`, undefined, 'WSTUN-E280'],
        [`nats://relay:pass%20word@127.0.0.1:1`, ca, 'WSTUN-E280'],
      ] as const;
      for (const [url, caFile, code] of cases) {
        const place = ['--cluster', url, ...(caFile === undefined ? [] : ['--cluster-ca', caFile])];
        const { process } = await startRelay({ args: [...place, '--url', 'ws://127.0.0.1:1'] });
        await until(() => process.stderr.includes(code), 10_000);
        expect(process.stderr).not.toMatch(/pass( |%20)word|wrong/);
        const { code: exit, stderr } = await wstun(['access', 'list', ...place]);
        expect([exit === 0, stderr]).toEqual([false, expect.stringContaining(code)]);
        expect(stderr).not.toMatch(/pass( |%20)word|wrong/);
        process.signal('SIGTERM');
        await process.exited;
      }
    },
  );

  it(
    'a relay logs in with credentials as nsc makes them, and with new ones from the same file when they have expired',
    LIMIT,
    async () => {
      const accounts = makeAccounts();
      const [config, creds] = [join(await tempDir(), 'nats.conf'), join(await tempDir(), 'relay.creds')];
      await writeFile(config, accounts.config, { mode: 0o600 });
      const [server] = await startNats(1, { args: ['-c', config] });
      await writeFile(creds, accounts.credsOf(SUBJECTS, EXPIRES_S), { mode: 0o600 });
      const place = ['--cluster', server?.url ?? '', '--cluster-creds', creds];
      const relay = await startRelay({ args: [...place, '--url', 'ws://127.0.0.1:1', '-v', '--workers', '1'] });
      const { process } = relay;
      const add = await wstun(['access', 'add', 'alice', '--state', relay.state, ...place]);
      expect(add).toMatchObject({ code: 0 });
      await until(() => process.stderr.includes('"entries":1'));
      await until(() => process.stderr.includes('WSTUN-E281'), 20_000);
      await writeFile(creds, accounts.credsOf(SUBJECTS), { mode: 0o600 });
      await until(() => process.stderr.split('connected to the cluster').length > 2, 20_000);
      expect((await wstun(['access', 'list', ...place])).stdout).toContain('alice');

      const seeds: string[] = [];
      const broken = [accounts.credsOf(SUBJECTS).replace('SEED-----\nSU', 'SEED-----\nSX'), 'no credentials\n'];
      for (const text of [accounts.credsOf(SUBJECTS, -60), ...broken, accounts.credsOf(['_INBOX.>'])]) {
        await writeFile(creds, text, { mode: 0o600 });
        seeds.push(text.split('\n').find((line) => /^S[UX]/.test(line)) ?? 'no seed');
        const { code, stderr } = await wstun(['access', 'list', ...place]);
        expect([code === 0, stderr]).toEqual([false, expect.stringContaining('WSTUN-E281')]);
        for (const seed of seeds) expect(stderr + process.stderr).not.toContain(seed);
      }
    },
  );

  it('a missing file of credentials keeps a relay from starting', async () => {
    const place = [
      '--cluster',
      'nats://127.0.0.1:1',
      '--cluster-creds',
      '/nonexistent/creds',
      '--url',
      'ws://127.0.0.1:1',
    ];
    const { code, stderr } = await wstun(['relay', '--state', join(await tempDir(), 'state'), ...place]);
    expect([code, stderr]).toEqual([78, expect.stringContaining('WSTUN-E146')]);
  });
});
