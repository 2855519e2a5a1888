/**
 * A proxy that wants Kerberos, answered by the command that docs/proxies.md has as its example.
 * @module-tag waits
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startRealm } from '../support/programs/kerberos.ts';
import { expectPage, HOSTS, startProxiedNetwork, startThrough } from '../support/programs/proxied-network.ts';
import { startSquid } from '../support/programs/squid.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

/** The Python script of the page. */
async function exampleScript(): Promise<string> {
  const page = await readFile(new URL('../../docs/proxies.md', import.meta.url), 'utf8');
  const [, script] = /^```python\n(.*?)^```$/ms.exec(page) ?? [];
  if (script === undefined) throw new Error('the page has no script');
  const file = join(await tempDir(), 'negotiate.py');
  await writeFile(file, script);
  return file;
}

describe('--proxy-auth-command', () => {
  it('passes a proxy that wants Kerberos by the ticket of the user, and says that it fails without one', async () => {
    const network = await startProxiedNetwork();
    const realm = await startRealm('HTTP/localhost');
    const helper = `/usr/lib/squid/negotiate_kerberos_auth -k ${realm.keytab} -s ${realm.service}`;
    const squid = await startSquid({
      hosts: HOSTS,
      env: realm.env,
      lines: [`auth_param negotiate program ${helper}`, 'acl known proxy_auth REQUIRED', 'http_access deny !known'],
    });
    const command = `/usr/bin/python3 ${await exampleScript()}`;
    const args = ['-v', '--proxy', `http://localhost:${squid.port}`, '--proxy-auth-command', command];
    const client = await startThrough(network, { args, env: await realm.logIn('alice') });
    await expectPage(client, network);
    expect(client.process.stdout + client.process.stderr).not.toMatch(/Negotiate \w{20}|YII/);
    await client.process.kill();
    await until(() => squid.accessLog().some((line) => /^200 CONNECT relay.corp.test:\d+ alice@/.test(line)));
    const env = { ...network.env, ...realm.env, KRB5CCNAME: '/nowhere', WSTUN_INVITE: network.invite };
    const { stderr } = await wstun(['client', '--once', '--listen', '127.0.0.1:0', ...args], { env });
    expect(stderr).toMatch(/proxy-auth-command failed: it ended with 1\..*WSTUN-E259/);
  });
});
