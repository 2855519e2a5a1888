/** `--via-browser` behind a company's proxy, which the browser finds by the system and wstun does not know. */
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { startRealm } from '../support/programs/kerberos.ts';
import { type Squid, startSquid } from '../support/programs/squid.ts';
import { invite, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { proxyPort } from '../support/tether/tethered.ts';
import { type Spawned, START_LIMIT_MS, spawnViaBrowser } from '../support/tether/via-browser.ts';

/** Only the proxy knows it, so nothing else leads to the relay. */
const RELAY = 'relay.wstun.test';
const HOSTS = { [RELAY]: '127.0.0.1' };

/** The variables by which a Chromium on Linux finds its proxy where no desktop tells it. */
function proxyEnv({ port }: Squid): Readonly<Record<string, string>> {
  const url = `http://localhost:${port}`;
  return { http_proxy: url, https_proxy: url };
}

async function startBehind(squid: Squid, env: Readonly<Record<string, string>> = {}): Promise<Spawned> {
  const relay = await startRelay();
  const secret = await invite(relay, 'laptop', { allow: ['*'], url: `ws://${RELAY}:${relay.port}` });
  return await spawnViaBrowser(secret, { env: { ...proxyEnv(squid), ...env } });
}

describe('--via-browser behind a proxy', () => {
  it('a proxy that wants Kerberos is passed by the ticket of the user, with nothing set in wstun', async () => {
    const realm = await startRealm('HTTP/localhost');
    const helper = `/usr/lib/squid/negotiate_kerberos_auth -k ${realm.keytab} -s ${realm.service}`;
    const squid = await startSquid({
      hosts: HOSTS,
      env: realm.env,
      lines: [
        `auth_param negotiate program ${helper}`,
        'auth_param negotiate children 1',
        'acl known proxy_auth REQUIRED',
        'http_access deny !known',
      ],
    });
    const { client } = await startBehind(squid, await realm.logIn('alice'));
    const socket = await connectThrough('SOCKS5', await proxyPort(client, START_LIMIT_MS), await tcpServer(echo));
    const { sent, received } = await exchange(socket, 100_000, 1);
    expect(received).toEqual({ bytes: 100_000, hash: sent });
    // squid logs a tunnel when it ends.
    socket.destroy();
    client.signal('SIGTERM');
    await client.exited;
    await expect
      .poll(() => squid.accessLog())
      .toContainEqual(expect.stringMatching(/^200 CONNECT relay\.wstun\.test:\d+ alice@WSTUN\.TEST$/));
  });

  it('a proxy that wants a password is reported within seconds, with what a person can do', async () => {
    const squid = await startSquid({ hosts: HOSTS, schemes: ['basic'], users: { alice: 'password' } });
    const { client } = await startBehind(squid);
    await client.event('browser-connected', START_LIMIT_MS);
    expect(await client.event('browser-offline', 8_000)).toMatchObject({
      code: 'WSTUN-E231',
      message: expect.stringMatching(/a proxy that asks for a password.*--via-browser=open/),
    });
    expect(squid.accessLog()).toContainEqual(expect.stringMatching(/^407 CONNECT relay\.wstun\.test:\d+ -$/));
  });
});
