/** A relay behind proxies that say from where a client comes: HAProxy and nginx, in fields and by the PROXY protocol. */
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { decodeInvite } from '../../src/crypto/invite.ts';
import { TicketSealer } from '../../src/crypto/ticket.ts';
import { ip } from '../support/net/namespaces.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { startHaproxy } from '../support/programs/haproxy.ts';
import { startNginx, startNginxStream } from '../support/programs/nginx.ts';
import { freePort } from '../support/programs/programs.ts';
import { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, type RunningRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { rawExchange, readUntil } from '../support/proxy/raw-http.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

/** Public addresses (RFC 5737): loopback is exempt from the limits by address. */
const [STRANGER, CLIENT] = ['203.0.113.9', '203.0.113.10'];
const PAGE = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
const BY_PROXY_PROTOCOL = ['--trust-proxy', 'loopback', '--proxy-protocol'];

beforeAll(async () => {
  for (const address of [STRANGER, CLIENT]) await ip('address', 'replace', `${address}/32`, 'dev', 'lo');
});

/** What a server says to a request from that address, until it ends the connection. */
async function askFrom(localAddress: string, port: number, request: string, tls = false): Promise<string> {
  const plain = connect({ port, host: '127.0.0.1', localAddress });
  const socket: Socket = tls ? connectTls({ socket: plain, rejectUnauthorized: false }) : plain;
  onTestFinished(() => void plain.destroy());
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = new Promise((resolve) => {
    for (const each of [socket, plain]) each.on('error', () => {}).on('close', resolve);
  });
  socket.write(request);
  await closed;
  return Buffer.concat(chunks).toString('latin1');
}

function ticketOf(relay: RunningRelay): string {
  const { peer, relayGateKey } = decodeInvite(relay.invite ?? '');
  return new TicketSealer(peer, relayGateKey).seal(
    { role: 'client', destination: '', protocol: 1, features: 0 },
    Date.now(),
  );
}

/** Clients and strangers of the proxy at that port are told apart by their own addresses. */
async function expectAddresses(
  relay: RunningRelay,
  port: number,
  { hasPort = true, certFile = '' } = {},
): Promise<void> {
  const tls = certFile !== '';
  // A ticket whose upgrade was dropped: the log says from where it came.
  const dropped = `GET /${ticketOf(relay)} HTTP/1.0\r\nHost: a\r\n\r\n`;
  expect(await askFrom(CLIENT, port, dropped, tls)).toMatch(/^HTTP\/1\.\d 404 /);
  await until(() => relay.process.stderr.includes(`"remote":"${CLIENT}"`));
  // Failures count for the address of the stranger alone.
  const isPunished = (): boolean => relay.process.stderr.includes(`"source":"${STRANGER}","penaltyMs"`);
  for (let i = 0; i < 60 && !isPunished(); i++) await askFrom(STRANGER, port, PAGE, tls);
  expect(isPunished()).toBe(true);
  expect(await askFrom(STRANGER, port, PAGE, tls)).not.toContain('Not Found');
  expect(await askFrom(CLIENT, port, PAGE, tls)).toContain('Not Found');
  expect(relay.process.stderr).not.toContain(`"source":"${CLIENT}"`);
  // And a client gets in, and its log line has the address that the proxy saw.
  const client = await startClient(
    await invite(relay, 'alice', { allow: ['*'], url: `${tls ? 'wss' : 'ws'}://127.0.0.1:${port}` }),
    {
      env: tls ? { NODE_EXTRA_CA_CERTS: certFile } : {},
    },
  );
  const socket = await connectThrough('SOCKS5', client.port, await tcpServer(echo));
  const { sent, received } = await exchange(socket, 100_000);
  expect(received).toEqual({ bytes: 100_000, hash: sent });
  expect(relay.process.stderr).toMatch(
    hasPort ? /"remote":"127\.0\.0\.1:\d+".*session started/ : /"remote":"127\.0\.0\.1".*session started/,
  );
}

async function tlsFiles() {
  const dir = await tempDir();
  const { cert, key } = makeCertificate();
  const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  await writeFile(certFile, cert);
  await writeFile(keyFile, key);
  return { certFile, args: ['--tls-cert', certFile, '--tls-key', keyFile] };
}

describe('a relay with --proxy-protocol', () => {
  it('HAProxy with send-proxy: clients and strangers are told apart by their addresses', async () => {
    const relay = await startRelay({ args: BY_PROXY_PROTOCOL });
    await expectAddresses(relay, await startHaproxy(relay.port, 'mode tcp', 'send-proxy'));
  });

  it('HAProxy with send-proxy-v2, its health checks and TLS of the relay: they are told apart', async () => {
    const { certFile, args } = await tlsFiles();
    const relay = await startRelay({ args: [...BY_PROXY_PROTOCOL, ...args] });
    const options = 'send-proxy-v2 proxy-v2-options crc32c,unique-id check check-send-proxy inter 200ms';
    const port = await startHaproxy(relay.port, 'mode tcp\n  unique-id-format %ci', options);
    await expectAddresses(relay, port, { certFile });
  });

  it('nginx with proxy_protocol in stream: they are told apart', async () => {
    const relay = await startRelay({ args: BY_PROXY_PROTOCOL });
    await expectAddresses(relay, await startNginxStream(relay.port, 'proxy_protocol on;'));
  });

  it('the upstream of --decoy gets no header, and a client behind it gets in', async () => {
    const nginx = await startNginx();
    await writeFile(join(nginx.root, 'index.html'), 'A site');
    const relay = await startRelay({ args: [...BY_PROXY_PROTOCOL, '--decoy', `http://127.0.0.1:${nginx.port}`] });
    const port = await startHaproxy(relay.port, 'mode tcp', 'send-proxy-v2');
    expect(await askFrom(STRANGER, port, PAGE)).toContain('A site');
    await startClient(await invite(relay, 'alice', { url: `ws://127.0.0.1:${port}` }));
  });

  it('a trusted peer without a header is closed unanswered, and others need none', async () => {
    const relay = await startRelay({
      args: ['--listen', `${CLIENT}:0`, '--trust-proxy', '127.0.0.1', '--proxy-protocol'],
    });
    expect(await rawExchange(relay.port, PAGE)).toEqual({ bytes: '', end: 'fin' });
    // From an address that is not trusted the header is what it looks like: no request.
    const stranger = await askFrom(STRANGER, relay.port, `PROXY TCP4 ${CLIENT} ${CLIENT} 1 2\r\n${PAGE}`);
    expect(stranger).toMatch(/^HTTP\/1\.1 400 /);
    expect(await askFrom(STRANGER, relay.port, PAGE)).toContain('Not Found');
    // One that comes byte by byte, with the request behind it.
    const socket = connect(relay.port, '127.0.0.1').setNoDelay(true);
    onTestFinished(() => void socket.destroy());
    for (const byte of `PROXY TCP4 ${CLIENT} ${CLIENT} 1 2\r\n${PAGE}`) {
      socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await readUntil(socket, 'Not Found\r\n')).toMatch(/^HTTP\/1\.1 404 /);
  });

  it('--proxy-protocol without --trust-proxy, and a network that is none, end the start with what to do', async () => {
    for (const args of [['--proxy-protocol'], ['--trust-proxy', '10.0.0.1/8'], ['--trust-proxy', 'nginx']]) {
      const process = new WstunProcess(['relay', '--listen', '127.0.0.1:0', '--state', await tempDir(), ...args]);
      expect(await process.exited).toBe(2);
      expect(process.stderr).toMatch(/--(trust-proxy|proxy-protocol) needs.*WSTUN-E101/s);
    }
  });
});

describe('a relay with --trust-proxy', () => {
  it('nginx with X-Forwarded-For, whatever a stranger forges in front: they are told apart', async () => {
    const port = await freePort();
    const nginx = await startNginx(`
    location / {
      proxy_pass http://127.0.0.1:${port};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $http_connection;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }`);
    const relay = await startRelay({ port, args: ['--trust-proxy', 'loopback'] });
    await expectAddresses(relay, nginx.port, { hasPort: false });
    const forged = PAGE.replace('\r\n', `\r\nX-Forwarded-For: ${CLIENT}\r\n`);
    expect(await askFrom(STRANGER, nginx.port, forged)).not.toContain('Not Found');
  });

  it('HAProxy with Forwarded: they are told apart', async () => {
    const relay = await startRelay({ args: ['--trust-proxy', '127.0.0.0/8'] });
    const port = await startHaproxy(relay.port, 'http-request set-header Forwarded for=%[src]');
    await expectAddresses(relay, port, { hasPort: false });
  });
});
