/**
 * A certificate renewed under a running relay: real files, a real TLS server, and a link that lives through it.
 *
 * @module-tag waits
 */
import { once } from 'node:events';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { expect, it, onTestFinished } from 'vitest';
import { TlsFiles } from '../../src/app/tls-files.ts';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketOpener, TicketSealer } from '../../src/crypto/ticket.ts';
import { startRelayServer, type TlsPair } from '../../src/relay/relay-server.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { dialWebSocket } from '../../src/transport/websocket/websocket-dial.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { trusting } from '../support/links/trusting.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const relay = createIdentity();
const alice = createIdentity();
const sealer = new TicketSealer(alice, relay.public.gate);

async function start(pair: TlsPair) {
  const dir = await tempDir();
  const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  await writeFile(certFile, pair.cert);
  await writeFile(keyFile, pair.key);
  const tickets = new TicketOpener(relay);
  tickets.setPeers([{ name: 'alice', gateKey: alice.public.gate, role: 'client', destination: '' }]);
  const links: MessageLink[] = [];
  const lines: string[] = [];
  const log = (fields: object, message: string): void => void lines.push(JSON.stringify({ ...fields, message }));
  const logger = { debug: log, info: log, warn: log, error: log };
  const files = new TlsFiles(certFile, keyFile);
  const tls = await files.read();
  const onLink = (link: MessageLink): void => void links.push(link);
  const server = await startRelayServer({ listen: [{ host: '127.0.0.1', port: 0 }], tls, tickets, onLink, logger });
  files.follow(server.setTls, logger);
  onTestFinished(() => {
    files.stop();
    server.close();
    for (const link of links) link.abort();
  });
  return { certFile, keyFile, port: server.addresses[0]!.port, links, lines };
}

/** Whether a new connection sees the certificate. */
async function shows(port: number, { cert }: TlsPair): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const seen = socket.getPeerX509Certificate()?.toString();
  socket.destroy();
  return seen === cert;
}

const linesOf = (lines: readonly string[], text: string): string[] => lines.filter((line) => line.includes(text));

it('a relay shows a renewed certificate to new connections within two seconds, and keeps its links', async () => {
  const [old, renewed] = [makeCertificate(), makeCertificate()];
  const { certFile, keyFile, port, links, lines } = await start(old);
  const ticket = sealer.seal({ role: 'client', destination: '', protocol: 3, features: 5 }, Date.now());
  const url = new URL(`wss://localhost:${port}/${ticket}`);
  const link = await dialWebSocket(url, { signal: AbortSignal.timeout(5000), reach: trusting(old.cert) });
  onTestFinished(() => link.abort());
  const recorder = new LinkRecorder(link);
  await until(() => links.length === 1);
  expect(await shows(port, old)).toBe(true);

  await writeFile(`${certFile}.new`, renewed.cert);
  await rename(`${certFile}.new`, certFile);
  await writeFile(keyFile, renewed.key);
  await until(() => linesOf(lines, 'reloaded').length === 1);
  expect(await shows(port, renewed)).toBe(true);
  links[0]?.send([Buffer.from('still here')]);
  await recorder.untilMessages(1);
  expect(recorder.closes).toEqual([]);
});

it('a relay keeps its certificate if the new one does not fit the key, and logs that once for each change', async () => {
  const [old, renewed] = [makeCertificate(), makeCertificate()];
  const { certFile, keyFile, port, lines } = await start(old);
  await writeFile(certFile, renewed.cert);
  await until(() => linesOf(lines, 'WSTUN-E117').length === 1);
  expect(await shows(port, old)).toBe(true);

  await rm(keyFile);
  await until(() => linesOf(lines, 'WSTUN-E117').length === 2);
  expect(await shows(port, old)).toBe(true);

  await writeFile(keyFile, renewed.key);
  await until(() => linesOf(lines, 'reloaded').length === 1);
  expect(await shows(port, renewed)).toBe(true);
  expect(linesOf(lines, 'WSTUN-E117')).toHaveLength(2);
  expect(lines.join()).not.toContain('PRIVATE KEY');
});
