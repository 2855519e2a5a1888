/**
 * The certificate that another node orders: read from the state directory, followed, and its challenges answered.
 *
 * @module-tag waits
 */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { connect } from 'node:tls';
import { expect, it, onTestFinished } from 'vitest';
import { AcmeFollower } from '../../src/app/acme-follower.ts';
import type { ChallengePair, SharedChallenges } from '../../src/relay/shared-challenges.ts';
import { saveAcmeCertificate } from '../../src/state/acme-file.ts';
import { openStateDir, type StateDir } from '../../src/state/state-dir.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const NAME = 'relay.example.org';

async function start() {
  const state = await openStateDir(await tempDir());
  let tell = (_name: string, _pair: ChallengePair | undefined): void => {};
  const shared: SharedChallenges = {
    isOurs: false,
    open: async () => () => {},
    setHandler: (handle) => {
      tell = handle;
    },
  };
  const follower = new AcmeFollower([NAME], state, shared);
  const { logger, lines } = collectingLogger();
  const used: string[] = [];
  onTestFinished(() => follower.stop());
  const follow = () => follower.follow(({ cert }) => void used.push(cert), logger);
  return { state, follower, follow, used, lines, tell: (name: string, pair?: ChallengePair) => tell(name, pair) };
}

async function store(state: StateDir, name = NAME): Promise<ChallengePair> {
  const pair = makeCertificate(`DNS:${name}`);
  await saveAcmeCertificate(state, { directory: 'https://ca.example.org/', names: [name], ...pair });
  return pair;
}

/** The certificate that an authority sees. */
async function answerOf({ challenges }: AcmeFollower): Promise<string | undefined> {
  const server = createServer((socket: Socket) => challenges.receive(socket, () => socket.destroy())).listen(0);
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const options = { servername: NAME, ALPNProtocols: ['acme-tls/1'], rejectUnauthorized: false };
  const socket = connect({ port, ...options });
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.once('secureConnect', resolve).once('close', () => resolve()));
  const certificate = socket.getPeerX509Certificate()?.toString();
  socket.destroy();
  return certificate;
}

it('a certificate that another node has stored is used, and each new one that follows', async () => {
  const { state, follower, follow, used, lines } = await start();
  expect(await follower.read()).toBeUndefined();
  follow();
  const first = await store(state);
  await until(() => used.length === 1);
  const second = await store(state);
  await until(() => used.length === 2);
  expect(used).toEqual([first.cert, second.cert]);
  expect(lines.map(({ message }) => message)).toEqual(Array(2).fill('a new TLS certificate is in use'));
  expect(await follower.read()).toMatchObject(second);
});

it('a certificate that is stored between the first reading and the watch is used', async () => {
  const { state, follower, follow, used } = await start();
  await store(state);
  expect(await follower.read()).toBeDefined();
  const { cert } = await store(state);
  follow();
  await until(() => used.length === 1);
  expect(used).toEqual([cert]);
});

it('a damaged file, and a certificate for other names, leave the one before in use', async () => {
  const { state, follower, follow, used, lines } = await start();
  await store(state);
  await follower.read();
  follow();
  await writeFile(state.pathOf('acme-certificate.json'), '{');
  await until(() => lines.length === 1);
  expect(lines[0]).toMatchObject({ level: 50, message: expect.stringContaining('The previous certificate stays in') });
  await store(state, 'other.example.org');
  const { cert } = await store(state);
  await until(() => used.length === 1);
  expect(used).toEqual([cert]);
});

it('a challenge that another node has opened is answered until it is over', async () => {
  const { follower, tell } = await start();
  const [first, second] = [makeCertificate(`DNS:${NAME}`), makeCertificate(`DNS:${NAME}`)];
  tell(NAME, first);
  expect(await answerOf(follower)).toBe(first.cert);
  tell(NAME, second);
  expect(await answerOf(follower)).toBe(second.cert);
  tell(NAME);
  expect(await answerOf(follower)).toBeUndefined();
});
