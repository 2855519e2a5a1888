/**
 * A relay that answers a certificate authority on its TLS port, and what everyone else sees of that: nothing.
 *
 * @module-tag waits
 */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { expect, it, onTestFinished } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketOpener, TicketSealer } from '../../src/crypto/ticket.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { type RelayServerOptions, startRelayServer } from '../../src/relay/relay-server.ts';
import { TlsChallenges } from '../../src/relay/tls-challenges.ts';
import { dialWebSocket } from '../../src/transport/websocket/websocket-dial.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { trusting } from '../support/links/trusting.ts';
import { makeCertificate } from '../support/programs/certificate.ts';

const NAME = 'relay.example.org';
const relay = createIdentity();
const alice = createIdentity();
const tls = makeCertificate();
const challenge = makeCertificate(`DNS:${NAME}`);

async function start(options: Partial<RelayServerOptions>) {
  const tickets = new TicketOpener(relay);
  tickets.setPeers([{ name: 'alice', gateKey: alice.public.gate, role: 'client', destination: 'home' }]);
  const challenges = new TlsChallenges();
  const onLink: RelayServerOptions['onLink'] = (link) => {
    new LinkRecorder(link);
    onTestFinished(() => link.abort());
  };
  const listen = [{ host: '127.0.0.1', port: 0 }];
  const server = await startRelayServer({ listen, tickets, onLink, logger: silentLogger, challenges, ...options });
  onTestFinished(() => server.close());
  return { server, challenges, port: server.addresses[0]!.port };
}

/** What a stranger sees: protocol, certificate and answer, or the alert. */
async function look(port: number, options: ConnectionOptions): Promise<object> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
  onTestFinished(() => void socket.destroy());
  const failed = await Promise.race([once(socket, 'secureConnect'), once(socket, 'error')]);
  // `once` resolves with the error of 'error', and with nothing for 'secureConnect'.
  if (failed.length > 0) return { failed: 'event' };
  return await seen(socket);
}

async function seen(socket: TLSSocket): Promise<object> {
  const certificate = fingerprint(socket.getPeerX509Certificate());
  const [alpn, version] = [socket.alpnProtocol, socket.getProtocol()];
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const [answer] = (await Promise.race([once(socket, 'data'), once(socket, 'end').then(() => [''])])) as [
    Buffer | string,
  ];
  socket.destroy();
  return { certificate, alpn, version, answer: answer.toString().replace(/^Date:.*$/m, '') };
}

const fingerprint = (certificate: X509Certificate | undefined) => certificate?.fingerprint256;
const ofPair = ({ cert }: { cert: string }) => new X509Certificate(cert).fingerprint256;

async function lookSafely(port: number, options: ConnectionOptions): Promise<object> {
  return await look(port, options).catch((error: NodeJS.ErrnoException) => ({ failed: error.code }));
}

async function plain(port: number, bytes: string | Buffer): Promise<string> {
  const socket = connectTcp(port, '127.0.0.1');
  let got = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    got += text;
  });
  socket.write(bytes);
  await once(socket, 'close');
  return got;
}

const STRANGERS: readonly ConnectionOptions[] = [
  {},
  { servername: NAME },
  { servername: NAME, maxVersion: 'TLSv1.2' },
  { servername: NAME, ALPNProtocols: ['http/1.1'] },
  { servername: NAME, ALPNProtocols: ['h2', 'http/1.1'] },
  { servername: NAME, ALPNProtocols: ['h2'] },
  { servername: NAME, ALPNProtocols: ['acme-tls/1', 'http/1.1'] },
  { servername: NAME, ALPNProtocols: ['acme-tls/1', 'h2'] },
  { servername: 'other.example.org', ALPNProtocols: ['acme-tls/1'] },
  { ALPNProtocols: ['acme-tls/1'] },
];

it('during a challenge only its name with acme-tls/1 alone gets its certificate, and strangers see what they saw before and see after', async () => {
  const { port, challenges } = await start({ tls });
  const asked = { servername: NAME, ALPNProtocols: ['acme-tls/1'] };
  const lookAll = async () => {
    const all: object[] = [];
    for (const stranger of STRANGERS) all.push(await lookSafely(port, stranger));
    return [
      ...all,
      await plain(port, 'GET / HTTP/1.1\r\n\r\n'),
      await plain(port, Buffer.from([22, 3, 1, 0, 4, 9, 0, 0, 0])),
    ];
  };
  const before = await lookAll();
  expect(before[0]).toMatchObject({ certificate: ofPair(tls) });
  const unasked = await lookSafely(port, asked);
  expect(unasked).toEqual(before[8]);
  const end = challenges.add(NAME, challenge);
  expect(await lookAll()).toEqual(before);
  expect(await lookSafely(port, asked)).toMatchObject({
    certificate: ofPair(challenge),
    alpn: 'acme-tls/1',
    answer: '',
  });
  end();
  expect(await lookSafely(port, asked)).toEqual(unasked);
  expect(await lookAll()).toEqual(before);
});

it('without a certificate no handshake succeeds but that of a challenge; clients get in when the certificate is set', async () => {
  const { port, challenges, server } = await start({ awaitsTls: true });
  const without = await lookSafely(port, { servername: NAME });
  expect(without).toEqual({ failed: 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE' });
  const end = challenges.add(NAME, challenge);
  const asked = { servername: NAME, ALPNProtocols: ['acme-tls/1'] };
  expect(await lookSafely(port, asked)).toMatchObject({ certificate: ofPair(challenge) });
  expect(await lookSafely(port, { servername: NAME })).toEqual(without);
  server.setTls(tls);
  // During the challenge still, so that its ClientHello is read and put back.
  const sealer = new TicketSealer(alice, relay.public.gate);
  const ticket = sealer.seal({ role: 'client', destination: 'home', protocol: 3, features: 5 }, Date.now());
  const options = { signal: AbortSignal.timeout(5_000), reach: trusting(tls.cert) };
  const link = await dialWebSocket(new URL(`wss://127.0.0.1:${port}/${ticket}`), options);
  link.abort();
  end();
  expect(await lookSafely(port, { servername: NAME })).toMatchObject({ certificate: ofPair(tls) });
});

/** Forwards to the relay, in writes of so many bytes. */
async function sliced(port: number, size: number): Promise<number> {
  const server = createServer((near) => {
    const far = connectTcp({ port, host: '127.0.0.1', noDelay: true });
    near.on('error', () => {}).on('close', () => far.destroy());
    far.on('error', () => {}).on('close', () => near.destroy());
    far.pipe(near);
    near.on('data', async (bytes: Buffer) => {
      near.pause();
      for (let at = 0; at < bytes.length; at += size) {
        far.write(bytes.subarray(at, at + size));
        await new Promise(setImmediate);
      }
      near.resume();
    });
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

it('a ClientHello that comes in small pieces during a challenge is read as the whole one, and served if there are too many', async () => {
  const { port, challenges } = await start({ tls });
  onTestFinished(challenges.add(NAME, challenge));
  for (const size of [1, 60]) {
    const served = await lookSafely(await sliced(port, size), { servername: NAME });
    expect(served).toMatchObject({ certificate: ofPair(tls), answer: expect.stringContaining('404') });
  }
  const asked = { servername: NAME, ALPNProtocols: ['acme-tls/1'] };
  expect(await lookSafely(await sliced(port, 60), asked)).toMatchObject({ certificate: ofPair(challenge) });
});
