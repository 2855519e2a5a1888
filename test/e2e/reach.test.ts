/** How a relay is reached, as the user chooses it: real programs stand between client and relay, and say what they see. */
import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pinOf } from '../../src/transport/connection/tls-pin.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { makeAuthority } from '../support/programs/authority.ts';
import { startTlsNginx } from '../support/programs/nginx.ts';
import { freePort, startServer } from '../support/programs/programs.ts';
import {
  invite,
  type RunningClient,
  type RunningRelay,
  spawnClient,
  startClient,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';

const authority = makeAuthority('/O=Example/CN=Example Root');
const front = authority.issue('DNS:front.example,DNS:relay.example');

async function file(name: string, text: string): Promise<string> {
  const path = join(await tempDir(), name);
  await writeFile(path, text);
  return path;
}

async function carries({ port }: RunningClient): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
  const { sent, received } = await exchange(socket, 100_000);
  expect(received).toEqual({ bytes: 100_000, hash: sent });
}

const passTo = ({ port }: RunningRelay): string => `
    location / {
      proxy_pass http://127.0.0.1:${port};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $http_connection;
      proxy_set_header Host $http_host;
    }`;

describe('a relay behind nginx with TLS', () => {
  it('nginx sees the names, the fields and the address that the user chose, and the client certificate', async () => {
    const relay = await startRelay();
    const clients = makeAuthority('/O=Example/CN=Example Clients');
    const clientCa = await file('clients.pem', clients.cert);
    const demands = `ssl_verify_client on; ssl_client_certificate ${clientCa};`;
    const nginx = await startTlsNginx(front, demands + passTo(relay));
    const secret = await invite(relay, 'alice', { allow: ['*'], url: 'wss://relay.example/x' });
    const laptop = clients.issue('DNS:laptop.example');
    const [ca, cert, key] = [
      await file('ca.pem', authority.cert),
      await file('cert.pem', laptop.cert),
      await file('key.pem', laptop.key),
    ];
    const trusting = ['--tls-ca', ca, '--connect-to', `127.0.0.1:${nginx.port}`, '--source', '127.0.0.9'];
    const names = ['--sni', 'front.example', '--host', 'relay.example:8443', '--user-agent', 'Example/1.0'];
    const args = [...trusting, ...names, '--tls-cert', cert, '--tls-key', key];
    const client = await startClient(secret, { args, env: { WSTUN_HEADERS: 'X-Team: one\n' } });
    await carries(client);
    await client.process.kill();
    let seen = await nginx.seen();
    while (seen.length === 0) seen = await nginx.seen();
    expect(seen[0]).toMatchObject({
      ...{ status: '101', sni: 'front.example', host: 'relay.example:8443' },
      ...{ agent: 'Example/1.0', team: 'one', from: '127.0.0.9' },
    });

    const anonymous = spawnClient(secret, { args: trusting });
    expect((await anonymous.event('retrying')).message).toContain('a client certificate');
  });

  it('a later link resumes the TLS session, also without a server name, and nginx confirms both', async () => {
    const relay = await startRelay();
    const nginx = await startTlsNginx(front, passTo(relay));
    const secret = await invite(relay, 'alice', { allow: ['*'], url: 'wss://relay.example' });
    const ca = await file('ca.pem', authority.cert);
    const args = ['--tls-ca', ca, '--connect-to', `127.0.0.1:${nginx.port}`, '--sni', 'none'];
    const client = await startClient(secret, { args });
    await relay.process.kill();
    await client.process.event('retrying');
    await client.process.kill();
    let seen = await nginx.seen();
    while (seen.length < 2) seen = await nginx.seen();
    expect(seen.slice(0, 2).map(({ reused, sni }) => [reused, sni])).toEqual([
      ['.', ''],
      ['r', ''],
    ]);
  });
});

describe('the certificate of a relay', () => {
  it('a pin that is given accepts its key alone', async () => {
    const relay = await startRelay({ args: ['--tls-self-signed'] });
    const secret = await invite(relay, 'alice', { allow: ['*'] });
    const pin = pinOf(new X509Certificate(await readFile(join(relay.state, 'tls-certificate.pem'), 'utf8'))) ?? '';
    await carries(await startClient(secret, { args: ['--tls-pin', pin.replace('/', '//')] }));
    const other = `sha256/${Buffer.alloc(32, 1).toString('base64')}`;
    const { code, message } = await spawnClient(secret, { args: ['--tls-pin', other] }).event('retrying');
    expect(code).toBe('WSTUN-E244');
    expect(message).toContain(pin);
  });

  it.each([
    ['WSTUN-E242', 'it is for front.example, relay.example, not for 127.0.0.1', front],
    ['WSTUN-E243', 'it has expired on ', authority.issue('IP:127.0.0.1', -1)],
  ])('a client says what is wrong with a certificate: %s', async (code, text, { cert, key }) => {
    const [certFile, keyFile] = [await file('cert.pem', cert), await file('key.pem', key)];
    const port = await freePort();
    await startServer(
      'openssl',
      ['s_server', '-quiet', '-www', '-port', String(port), '-cert', certFile, '-key', keyFile],
      port,
    );
    const relay = await startRelay();
    const secret = await invite(relay, 'alice', { url: `wss://127.0.0.1:${port}` });
    const client = spawnClient(secret, { args: ['--tls-ca', await file('ca.pem', authority.cert)] });
    const event = await client.event('retrying');
    expect([event.code, event.message]).toEqual([code, expect.stringContaining(text)]);
  });

  it('a program that inspects TLS is named, reads no data, and is let through by its CA', async () => {
    const relay = await startRelay({ args: ['--tls-self-signed'] });
    const port = await freePort();
    const confdir = await tempDir();
    const mode = ['--mode', `reverse:https://127.0.0.1:${relay.port}`, '--listen-host', '127.0.0.1'];
    const quiet = ['-q', '--ssl-insecure', '--set', `confdir=${confdir}`, '--set', 'connection_strategy=lazy'];
    await startServer('mitmdump', [...mode, '--listen-port', String(port), ...quiet], port);
    // Its pin is in the invite, but it is not the key that the inspector shows.
    const secret = await invite(relay, 'alice', { allow: ['*'], url: `wss://127.0.0.1:${port}` });
    const wary = await spawnClient(secret).event('retrying');
    expect(wary.code).toBe('WSTUN-E241');
    expect(wary.message).toContain('the certificate is from "mitmproxy, mitmproxy" (mitmproxy)');
    expect(wary.message).toContain('It cannot read your data');
    const args = ['--tls-ca', join(confdir, 'mitmproxy-ca-cert.pem')];
    await carries(await startClient(secret, { args }));
  });
});

describe('addresses of a relay', () => {
  it('a client uses only the version of IP that it is told to use', async () => {
    const relay = await startRelay({ args: ['--listen', '[::1]:0'] });
    const listen = relay.process.events[0]?.listen;
    const second = Array.isArray(listen) ? String(listen[1]) : '';
    expect(second).toMatch(/^\[::1\]:/);
    const secret = await invite(relay, 'alice', { allow: ['*'], url: `ws://${second}` });
    await carries(await startClient(secret, { args: ['-6'] }));
    const { message } = await spawnClient(secret, { args: ['-4'] }).event('retrying');
    expect(message).toContain('it has no IPv4 address (--ipv4)');
    const literal = await invite(relay, 'bob', { url: `ws://127.0.0.1:${relay.port}` });
    const bob = await spawnClient(literal, { args: ['--ipv6'] }).event('retrying');
    expect(bob.message).toContain('it has no IPv6 address (--ipv6)');
  });

  it('a client says that it cannot reach IPv4 from a local address of IPv6', async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'alice');
    const { message } = await spawnClient(secret, { args: ['--source', '::1'] }).event('retrying');
    expect(message).toContain('one has IPv4, the other IPv6 (--source)');
  });
});
