/**
 * Every kind of proxy with a real program, for a client and for an exit; and what helps where only px or cntlm leads out.
 * @module-tag waits
 */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { beforeAll, describe, expect, it } from 'vitest';
import { closedPort } from '../support/net/tcp.ts';
import { startDanted } from '../support/programs/danted.ts';
import {
  expectPage,
  HOSTS,
  type ProxiedNetwork,
  startProxiedNetwork,
  startThrough,
} from '../support/programs/proxied-network.ts';
import { startSquid } from '../support/programs/squid.ts';
import { startTinyproxy } from '../support/programs/tinyproxy.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { invite, startClient, startExit } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';

let network: ProxiedNetwork;
/** Without TLS. */
let plain: ProxiedNetwork;

beforeAll(async () => {
  [network, plain] = await Promise.all([startProxiedNetwork(), startProxiedNetwork('ws')]);
});

/** In front of a proxy, which then is reached by https://. */
async function startTlsFront(to: number, certificate: { cert: string; key: string }): Promise<number> {
  const server = createServer(certificate, (socket) => {
    const proxy = connect(to, '127.0.0.1');
    for (const one of [socket, proxy]) one.on('error', () => {});
    socket.pipe(proxy).pipe(socket);
    socket.on('close', () => proxy.destroy());
    proxy.on('close', () => socket.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => server.close());
  return (server.address() as AddressInfo).port;
}

describe('a client reaches the relay', () => {
  it('by https://, TLS to the proxy, with TLS to the relay inside it or none', async () => {
    const squid = await startSquid({ hosts: HOSTS });
    const port = await startTlsFront(squid.port, network.certificate);
    await expectPage(await startThrough(network, { args: ['--proxy', `https://127.0.0.1:${port}`] }), network);
    const file = join(await tempDir(), 'proxy-ca.pem');
    await writeFile(file, network.certificate.cert);
    const args = ['--proxy', `https://127.0.0.1:${port}`, '--tls-ca', file];
    await expectPage(await startClient(plain.invite, { args }), plain);
    const untrusting = ['client', '--once', '--listen', '127.0.0.1:0', '--proxy', `https://127.0.0.1:${port}`];
    const { stderr } = await wstun(untrusting, { env: { WSTUN_INVITE: network.invite } });
    expect(stderr).toContain('WSTUN-E256');
  });

  it('by tinyproxy, which answers as HTTP/1.0, without TLS (ws://), and by SOCKS', async () => {
    const [tinyproxy, open, closed] = await Promise.all([
      startTinyproxy(['BasicAuth ann secret']),
      startDanted('none'),
      startDanted('username'),
    ]);
    // Dante does not do what SOCKS 4a asks for.
    const wstunToo = await startClient(await invite(plain.relay, 'proxy', { allow: ['localhost'] }));
    const secret = await network.inviteTo(`wss://localhost:${network.port}`);
    const plainSecret = await plain.inviteTo(`ws://localhost:${plain.port}`);
    const proxies = [
      `socks4a://127.0.0.1:${wstunToo.port}`,
      `socks4://127.0.0.1:${open}`,
      `socks5://127.0.0.1:${open}`,
      `socks5h://127.0.0.1:${open}`,
    ];
    for (const proxy of proxies) {
      const env = { ...network.env, WSTUN_PROXY: proxy };
      await expectPage(await startClient(secret, { env }), network);
    }
    await expectPage(
      await startClient(plainSecret, { env: { WSTUN_PROXY: `http://ann:secret@127.0.0.1:${tinyproxy}` } }),
      plain,
    );
    const env = { ...network.env, WSTUN_INVITE: secret, WSTUN_PROXY: `socks5h://ann:secret@127.0.0.1:${closed}` };
    const { stderr } = await wstun(['client', '--once', '--listen', '127.0.0.1:0'], { env });
    expect(stderr).toContain('WSTUN-E252');
  });

  it('by the proxy that a PAC file names for it, and directly where that says DIRECT', async () => {
    const squid = await startSquid({ hosts: HOSTS });
    const file = join(await tempDir(), 'proxy.pac');
    const rule = `shExpMatch(host, '*.corp.test') && url.substring(0, 6) == 'https:'`;
    await writeFile(
      file,
      `function FindProxyForURL(url, host) { return ${rule} ? 'PROXY 127.0.0.1:${squid.port}; DIRECT' : 'DIRECT'; }`,
    );
    await expectPage(await startThrough(network, { args: ['--proxy', `pac+file:${file}`] }), network);
    const direct = await network.inviteTo(`wss://localhost:${network.port}`);
    await expectPage(await startClient(direct, { args: ['--proxy', `pac+file:${file}`], env: network.env }), network);
    await writeFile(file, 'function FindProxyForURL(url, host) { for (;;) {} }');
    const endless = ['client', '--once', '--listen', '127.0.0.1:0', '--proxy', `pac+file:${file}`];
    const { stderr } = await wstun(endless, { env: { WSTUN_INVITE: network.invite } });
    expect(stderr).toContain('WSTUN-E258');
  });
});

describe('an exit', () => {
  it('registers through the proxy of the environment', async () => {
    const squid = await startSquid({ hosts: HOSTS });
    const url = `wss://relay.corp.test:${network.port}`;
    const secret = await invite(network.relay, 'home', { role: 'exit', url });
    const env = { ...network.env, https_proxy: `http://127.0.0.1:${squid.port}` };
    const exit = await startExit({ invite: secret, env });
    expect(exit.process.isRunning).toBe(true);
  });
});

describe('where px or cntlm runs at 127.0.0.1:3128', () => {
  it('names it when the relay cannot be reached directly, or by a proxy that asks for another scheme', async () => {
    await startSquid({ port: 3128, hosts: HOSTS });
    const company = await startSquid({ schemes: ['negotiate'] });
    const says = async (...proxy: string[]) => {
      const args = ['client', '--once', '--listen', '127.0.0.1:0', ...proxy];
      return (await wstun(args, { env: { ...network.env, WSTUN_INVITE: network.invite } })).stderr;
    };
    const advice = 'add --proxy http://127.0.0.1:3128. (WSTUN-E';
    expect(await says()).toContain(`${advice}201)`);
    expect(await says('--proxy', `127.0.0.1:${company.port}`)).toContain(`${advice}251)`);
    expect(await says('--proxy', `127.0.0.1:${await closedPort()}`)).toContain(`${advice}250)`);
    expect(await says('--proxy', 'none')).not.toContain('3128');
  });
});
