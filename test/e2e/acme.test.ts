/** A relay that gets its certificate from a real ACME server, with the programs as a user starts them. */
import { randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import { expect, it } from 'vitest';
import { saveAcmeCertificate } from '../../src/state/acme-file.ts';
import { openStateDir } from '../../src/state/state-dir.ts';
import { closedPort, echo, tcpServer } from '../support/net/tcp.ts';
import { exchange, payload } from '../support/payload.ts';
import { type Pebble, startPebble, startTurnstile } from '../support/programs/pebble.ts';
import { freePort, runWell } from '../support/programs/programs.ts';
import { bothServe, killWorker } from '../support/programs/worker-processes.ts';
import { wrongClock } from '../support/programs/wrong-clock.ts';
import { type WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { invite, type RunningRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const NAME = 'relay.example.org';
const HERE = { addresses: ['127.0.0.1'] };
const DAY_S = 86_400;

const acme = (name: string, { directory, caFile }: Pick<Pebble, 'directory' | 'caFile'>) =>
  ['--acme', name, '--acme-directory', directory, '--acme-ca', caFile] as const;

/** How often a process has a new one. */
const countNew = ({ stderr }: WstunProcess) => stderr.match(/a new TLS certificate is in use/g)?.length ?? 0;
const hasNew = (process: WstunProcess) => countNew(process) > 0;

async function certificateAt(port: number): Promise<X509Certificate> {
  const socket = connect({ host: '127.0.0.1', port, servername: NAME, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const certificate = socket.getPeerX509Certificate();
  socket.destroy();
  if (certificate === undefined) throw new Error('no certificate');
  return certificate;
}

/** Of a relay of two workers, to which connections come in turn. */
async function certificatesAt(port: number): Promise<X509Certificate[]> {
  const certificates: X509Certificate[] = [];
  for (let i = 0; i < 4; i++) certificates.push(await certificateAt(port));
  return certificates;
}

/** For a client: the relay's name leads here, and those roots are trusted. */
async function clientOf(relay: RunningRelay, roots: string) {
  const dir = await tempDir();
  const [hosts, ca] = [join(dir, 'hosts'), join(dir, 'ca.pem')];
  await writeFile(hosts, `127.0.0.1 ${NAME} localhost\n`);
  await writeFile(ca, roots);
  const within = ['unshare', '-m', 'sh', '-c', `mount --bind ${hosts} /etc/hosts && exec "$0" "$@"`];
  const secret = await invite(relay, 'alice', { allow: ['127.0.0.1'], url: `wss://${NAME}:${relay.port}` });
  return await startClient(secret, { env: { NODE_EXTRA_CA_CERTS: ca }, within });
}

/** Through a connection that stays open. */
async function echoed(socket: Duplex): Promise<void> {
  const sent = payload(10_000);
  let received = Buffer.alloc(0);
  await new Promise<void>((resolve, reject) => {
    const onData = (bytes: Buffer): void => {
      received = Buffer.concat([received, bytes]);
      if (received.length < sent.length) return;
      socket.off('data', onData).off('close', onClose);
      resolve();
    };
    const onClose = (): void => reject(new Error('the connection was lost'));
    socket.on('data', onData).on('close', onClose).resume().write(sent);
  });
  expect(received.equals(sent)).toBe(true);
}

/** In the state directory of a relay, as if that authority had issued it two and a half of its three days ago. */
async function storeDueCertificate(state: string, directory: string): Promise<string> {
  const dir = await tempDir();
  const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '3'];
  const subject = ['-subj', '/CN=old', '-addext', `subjectAltName=DNS:${NAME}`];
  const env = await wrongClock(-2.5 * DAY_S);
  await runWell('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', keyFile, '-out', certFile], { env });
  const [cert, key] = [await runWell('cat', [certFile]), await runWell('cat', [keyFile])];
  await saveAcmeCertificate(await openStateDir(state), { directory, names: [NAME], cert, key });
  return cert;
}

it('a relay gets a certificate by TLS-ALPN-01, through which a client connects, and orders nothing after a restart', async () => {
  const port = await freePort();
  const pebble = await startPebble({ names: { [NAME]: HERE }, tlsPort: port });
  const turnstile = await startTurnstile(pebble.directory);
  turnstile.open();
  const state = join(await tempDir(), 'state');
  const args = acme(NAME, { ...pebble, directory: turnstile.directory });
  const relay = await startRelay({ state, port, args });
  expect(relay.process.events[0]).toMatchObject({ event: 'ready', url: `wss://${NAME}`, certificate: 'awaited' });
  await until(() => hasNew(relay.process), 10_000);
  expect(relay.process.stderr).toContain('--acme agrees to its terms of service');
  const issued = await certificateAt(port);
  expect(issued.checkHost(NAME)).toBe(NAME);
  const client = await clientOf(relay, pebble.root);
  const target = await tcpServer(echo);
  await exchange(await connectThrough('SOCKS5', client.port, target), 100_000);
  for (const file of ['acme-account.key', 'acme-certificate.json'])
    expect((await stat(join(state, file))).mode & 0o777).toBe(0o600);
  await relay.process.kill();
  const before = turnstile.connections;
  const again = await startRelay({ state, port, args });
  expect(again.process.events[0]).toMatchObject({ event: 'ready', certificate: 'valid' });
  await client.process.event('connected');
  expect((await certificateAt(port)).fingerprint256).toBe(issued.fingerprint256);
  expect(turnstile.connections).toBe(before);
  expect(again.process.stderr).not.toContain('certificate');
});

it('a relay that the authority reaches only over HTTP gets a certificate of two names by HTTP-01 for an account of the authority, and sends others to https', async () => {
  const httpPort = await freePort();
  const account = { id: 'customer:1', key: randomBytes(48).toString('base64url') };
  const names = { [NAME]: HERE, 'www.example.org': HERE };
  const pebble = await startPebble({ names, tlsPort: 1, httpPort, account });
  const args = [...acme(NAME, pebble), '--acme', 'www.example.org', '--acme-http', `127.0.0.1:${httpPort}`];
  const relay = await startRelay({ args, env: { WSTUN_ACME_EAB: `${account.id}:${account.key}` } });
  await until(() => hasNew(relay.process), 10_000);
  expect((await certificateAt(relay.port)).subjectAltName).toBe(`DNS:${NAME}, DNS:www.example.org`);
  const curl = (host: string) =>
    runWell('curl', [
      '-s',
      '-H',
      `Host: ${host}`,
      '-w',
      '%{http_code} %{redirect_url}',
      `http://127.0.0.1:${httpPort}/a?b`,
    ]);
  expect(await curl('www.example.org')).toBe('301 https://www.example.org/a?b');
  expect(await curl('other.example.org')).toBe('Not Found404 ');
});

it('a certificate is renewed under traffic: no session is lost, and new connections get the new one', async () => {
  const port = await freePort();
  const pebble = await startPebble({ names: { [NAME]: HERE }, tlsPort: port });
  const turnstile = await startTurnstile(pebble.directory);
  const state = await tempDir();
  const old = await storeDueCertificate(state, turnstile.directory);
  const relay = await startRelay({ state, port, args: acme(NAME, { ...pebble, directory: turnstile.directory }) });
  const client = await clientOf(relay, old + pebble.root);
  const target = await tcpServer(echo);
  const throughout = await connectThrough('SOCKS5', client.port, target);
  await echoed(throughout);
  expect((await certificateAt(port)).toString()).toBe(new X509Certificate(old).toString());
  turnstile.open();
  while (!hasNew(relay.process)) await echoed(throughout);
  await exchange(throughout, 100_000);
  expect((await certificateAt(port)).checkIssued(new X509Certificate(old))).toBe(false);
  expect(client.process.events.map(({ event }) => event)).toEqual(['ready']);
});

it('a relay of two workers gets a certificate by TLS-ALPN-01, whichever worker the authority comes to, and both serve it', {
  timeout: 120_000,
}, async () => {
  const port = await freePort();
  const pebble = await startPebble({ names: { [NAME]: HERE }, tlsPort: port });
  const turnstile = await startTurnstile(pebble.directory);
  const args = ['--workers', '2', ...acme(NAME, { ...pebble, directory: turnstile.directory })];
  const relay = await startRelay({ port, args });
  expect(relay.process.events[0]).toMatchObject({ event: 'ready', url: `wss://${NAME}`, certificate: 'awaited' });
  // The authority checks by three connections at once: they come to both.
  await bothServe(relay);
  turnstile.open();
  await until(() => countNew(relay.process) === 2, 20_000);
  const issued = await certificatesAt(port);
  expect(issued[0]?.checkHost(NAME)).toBe(NAME);
  expect(new Set(issued.map(({ fingerprint256 }) => fingerprint256)).size).toBe(1);
  expect(relay.process.stderr).not.toContain('"level":"error"');
  const client = await clientOf(relay, pebble.root);
  await exchange(await connectThrough('SOCKS5', client.port, await tcpServer(echo)), 100_000);
});

it('a certificate is renewed at both workers of a relay, by the replacement of a worker that died while it renewed', {
  timeout: 120_000,
}, async () => {
  const port = await freePort();
  const pebble = await startPebble({ names: { [NAME]: HERE }, tlsPort: port });
  const turnstile = await startTurnstile(pebble.directory);
  const state = await tempDir();
  const old = await storeDueCertificate(state, turnstile.directory);
  const args = ['--workers', '2', ...acme(NAME, { ...pebble, directory: turnstile.directory })];
  const relay = await startRelay({ state, port, args });
  await bothServe(relay);
  const { fingerprint256: before } = new X509Certificate(old);
  expect((await certificatesAt(port)).every(({ fingerprint256 }) => fingerprint256 === before)).toBe(true);
  await until(() => turnstile.connections > 0, 10_000);
  killWorker(relay, 0);
  await until(() => relay.process.events.some(({ state: is, worker }) => is === 'died' && worker === 0), 10_000);
  await bothServe(relay);
  turnstile.open();
  await until(() => countNew(relay.process) === 2, 20_000);
  const renewed = await certificatesAt(port);
  expect(new Set(renewed.map(({ fingerprint256 }) => fingerprint256)).size).toBe(1);
  expect(renewed[0]?.checkIssued(new X509Certificate(old))).toBe(false);
});

it('the port of --acme-http is that of one worker, and of its replacement after it died', {
  timeout: 120_000,
}, async () => {
  const httpPort = await freePort();
  const pebble = await startPebble({ names: { [NAME]: HERE }, tlsPort: 1, httpPort });
  const turnstile = await startTurnstile(pebble.directory);
  const http = ['--acme-http', `127.0.0.1:${httpPort}`];
  const args = ['--workers', '2', ...acme(NAME, { ...pebble, directory: turnstile.directory }), ...http];
  const relay = await startRelay({ args });
  await bothServe(relay);
  killWorker(relay, 0);
  await until(() => relay.process.events.some(({ event, state }) => event === 'worker' && state === 'died'), 10_000);
  await bothServe(relay);
  turnstile.open();
  await until(() => countNew(relay.process) === 2, 20_000);
  expect((await certificatesAt(relay.port)).every((each) => each.checkHost(NAME) === NAME)).toBe(true);
});

it('while the authority is down at a renewal, the certificate stays in use, and one line says so', async () => {
  const state = await tempDir();
  const directory = `https://127.0.0.1:${await closedPort()}/dir`;
  const old = await storeDueCertificate(state, directory);
  const relay = await startRelay({ state, args: ['--acme', NAME, '--acme-directory', directory] });
  expect(relay.process.events[0]).toMatchObject({ certificate: 'valid' });
  await until(() => relay.process.stderr.includes('WSTUN-E151'), 10_000);
  expect(relay.process.stderr).toMatch(/"msg":"[^"]*ECONNREFUSED[^"]*The previous certificate stays in use\."/);
  expect((await certificateAt(relay.port)).toString()).toBe(new X509Certificate(old).toString());
  relay.process.signal('SIGTERM');
  expect(await relay.process.exited).toBe(0);
});

it('a relay that is told to end while the authority does not answer ends at once', async () => {
  const turnstile = await startTurnstile('https://127.0.0.1:1/dir');
  const relay = await startRelay({ args: ['--acme', NAME, '--acme-directory', turnstile.directory] });
  await until(() => turnstile.connections > 0, 10_000);
  const since = performance.now();
  relay.process.signal('SIGTERM');
  expect(await relay.process.exited).toBe(0);
  expect(performance.now() - since).toBeLessThan(5_000);
});

it.each([
  ['whose name leads to a machine where nothing listens', HERE, 'WSTUN-E15[23]'],
  ['whose name is unknown to the DNS', { fault: 'NXDOMAIN' } as const, 'WSTUN-E15[36]'],
])('a relay %s says what to do, goes on trying, and ends at once when it is told to', async (_what, entry, code) => {
  const pebble = await startPebble({ names: { [NAME]: entry }, tlsPort: await freePort() });
  const relay = await startRelay({ args: acme(NAME, pebble) });
  await until(() => relay.process.stderr.includes('"level":"error"'), 10_000);
  expect(relay.process.stderr).toMatch(new RegExp(`"code":"${code}".*${NAME}.*There is no certificate yet`));
  relay.process.signal('SIGTERM');
  expect(await relay.process.exited).toBe(0);
});

it.each([
  [['--acme', '192.0.2.1'], 'WSTUN-E150'],
  [['--acme', NAME, '--tls-cert', 'a', '--tls-key', 'b'], 'WSTUN-E101'],
  [['--acme', NAME, '--acme-directory', 'http://ca.example.org/'], 'WSTUN-E101'],
  [['--acme-email', 'me@example.org'], 'WSTUN-E101'],
  [['--acme', NAME, '--acme-eab', 'id'], 'WSTUN-E101'],
])('wstun relay %j is rejected with %s before anything listens', async (args, code) => {
  const state = join(await tempDir(), 'state');
  const { stderr } = await wstun(['relay', '--listen', '127.0.0.1:0', '--state', state, ...args]);
  expect(stderr).toContain(code);
  expect(stderr.trim().split('\n')).toHaveLength(1);
});
