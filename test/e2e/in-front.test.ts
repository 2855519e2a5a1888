/**
 * Something in front of the relay rejects all requests for a while: a real nginx, reloaded while clients and exits run
 * and start.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { tcpServer } from '../support/net/tcp.ts';
import { chunks, type Received, receive } from '../support/payload.ts';
import { type FrontMode, startFronts } from '../support/programs/nginx.ts';
import { freePort } from '../support/programs/programs.ts';
import { refuseSecrets, WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, spawnClient, startClient, startExit, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Half a minute on a long run: WSTUN_LONG=1 npx vitest run test/e2e/in-front.test.ts */
const NO_MS = process.env.WSTUN_LONG === undefined ? 12_000 : 30_000;
const LIMIT_MS = NO_MS + 200_000;
/** A wait that has grown for so long is over within twice that, or a minute; the rest is for a busy machine. */
const BACK_MS = 90_000;

/** The download must last longer than the test. */
const MIB = 1024 * 1024;
const DOWNLOAD_BYTES = 24 * MIB;
const CHUNK_MS = (NO_MS + 20_000) / (DOWNLOAD_BYTES / (256 * 1024));

interface Kind {
  readonly mode: FrontMode;
  readonly code: string;
  /** What the sentence names. */
  readonly says: string;
}

const KINDS: readonly Kind[] = [
  { mode: 'return 404;', code: 'WSTUN-E202', says: 'HTTP 404 from nginx' },
  { mode: 'return 403;', code: 'WSTUN-E204', says: 'HTTP 403 from nginx: a filter, or a web server in front' },
  {
    mode: 'return 502;',
    code: 'WSTUN-E204',
    says: 'HTTP 502 from nginx: the proxy in front answers, but the relay behind it does not',
  },
  {
    mode: 'return 302 http://login.hotel.example/login?from=$request_uri;',
    code: 'WSTUN-E204',
    says: 'it redirects to http://login.hotel.example/: open that in a browser',
  },
];

interface RunningCase {
  readonly kind: Kind;
  readonly exit: WstunProcess;
  readonly client: WstunProcess;
  /** Of the client's download. */
  readonly received: Promise<Received>;
  /** Invites for the exit and the client that start meanwhile. */
  readonly later: { readonly exit: string; readonly client: string };
  readonly state: string;
}

async function sendSlowly(socket: Socket): Promise<void> {
  for (const chunk of chunks(DOWNLOAD_BYTES, 1)) {
    if (!socket.write(chunk)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
    if (socket.destroyed) return;
    await delay(CHUNK_MS);
  }
  socket.end();
}

function wholeDownload(): Received {
  const hash = createHash('sha256');
  for (const chunk of chunks(DOWNLOAD_BYTES, 1)) hash.update(chunk);
  return { bytes: DOWNLOAD_BYTES, hash: hash.digest('hex') };
}

/** Says in time that it has waited for long and what is in front of the relay, and goes on. */
async function expectToSay(process: WstunProcess, { code, says }: Kind): Promise<void> {
  const { message, ...waiting } = await process.event('waiting', BACK_MS);
  expect(waiting).toMatchObject({ code });
  expect(message).toContain(says);
  expect(process.events.map(({ event }) => event)).not.toContain('ended');
  refuseSecrets(process.stdout);
}

describe('a front of the relay that rejects all requests', () => {
  it('a front that rejects all requests ends no client and no exit, at their start or during transfers, and each names it', {
    timeout: LIMIT_MS,
  }, async () => {
    const target = await tcpServer((socket) => void sendSlowly(socket));
    const port = await freePort();
    const { ports, switchTo } = await startFronts(KINDS.length, port);
    const relay = await startRelay({ port, args: ['--no-exit'] });

    const cases: RunningCase[] = [];
    // One after the other: sixteen processes that start at once are slow on a small machine.
    for (const [at, kind] of KINDS.entries()) {
      const url = `ws://127.0.0.1:${ports[at]}`;
      const registration = (name: string) => invite(relay, `${name}-${at}`, { url, role: 'exit' });
      const exit = await startExit({ invite: await registration('home') });
      const client = await startClient(await invite(exit, 'alice', { allow: ['127.0.0.1'] }));
      const download = await connectThrough('SOCKS5', client.port, target);
      const received = receive(download);
      await once(download, 'data');
      const later = { exit: await registration('shed'), client: await invite(exit, 'bob') };
      cases.push({ kind, exit: exit.process, client: client.process, received, later, state: await tempDir() });
    }

    await switchTo(KINDS.map(({ mode }) => mode));
    const since = performance.now();
    await Promise.all(cases.map(({ client }) => client.event('lost', BACK_MS)));
    const late = cases.map(({ later, state }) => ({
      exit: new WstunProcess(['exit', '--json', '--state', state], { env: { WSTUN_INVITE: later.exit } }),
      client: spawnClient(later.client),
    }));
    await Promise.all(
      cases.flatMap(({ kind, exit, client }, at) =>
        [exit, client, late[at]?.exit, late[at]?.client].map((process) => process && expectToSay(process, kind)),
      ),
    );
    await delay(since + NO_MS - performance.now());

    await switchTo(KINDS.map(() => 'pass'));
    await Promise.all(
      cases.map(async ({ exit, client, received }, at) => {
        await exit.event('connected', BACK_MS);
        await client.event('resumed', BACK_MS);
        expect(await received).toEqual(wholeDownload());
        await late[at]?.exit.event('ready', BACK_MS);
        await late[at]?.client.event('ready', BACK_MS);
      }),
    );
  });
});
