/**
 * Two relays with the same keys, which know nothing of each other, a named exit that registers at both, and its
 * clients, as real processes: a relay may die at any time.
 */
import { copyFile, mkdir } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeInvite } from '../../src/crypto/invite.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { payload, receive, sha256 } from '../support/payload.ts';
import { freePort } from '../support/programs/programs.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningExit,
  type RunningRelay,
  startClient,
  startExit,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const BYTES = 24 * MIB;

/** As docs/operations.md says it ("Several relays"). */
async function copyOf({ state }: RunningRelay): Promise<string> {
  const copy = join(await tempDir(), 'relay-b');
  await mkdir(copy, { mode: 0o700 });
  for (const name of ['identity.key', 'access.toml']) await copyFile(join(state, name), join(copy, name));
  return copy;
}

interface Pair {
  readonly relays: readonly RunningRelay[];
  readonly exit: RunningExit;
}

async function startPair(): Promise<Pair> {
  const first = await startRelay({ args: ['--no-exit'] });
  const port = await freePort();
  const urls = [first.url, `ws://127.0.0.1:${port}`];
  const registration = await invite(first, 'home', { role: 'exit', urls });
  const second = await startRelay({ state: await copyOf(first), port, args: ['--no-exit'] });
  const exit = await startExit({ invite: registration });
  expect(await exit.process.event('relay')).toMatchObject({ registered: true });
  return { relays: [first, second], exit };
}

async function statusOf({ state }: { readonly state: string }) {
  const { stdout } = await wstun(['status', '--json', '--state', state]);
  return JSON.parse(stdout);
}

/** By which the session of the only client goes. */
async function relayInUse(relays: readonly RunningRelay[]): Promise<{ used: RunningRelay; other: RunningRelay }> {
  for (const used of relays) {
    const other = relays.find((relay) => relay !== used);
    if (other !== undefined && (await statusOf(used)).peerCount > 0) return { used, other };
  }
  throw new Error('no relay has a client');
}

/** Sends half of `BYTES` to whoever connects, and the rest when it is told to. */
async function download(): Promise<{ port: number; hash: string; goOn: () => void }> {
  const bytes = payload(BYTES, 5);
  const sockets: Socket[] = [];
  const port = await tcpServer((socket) => {
    sockets.push(socket);
    socket.write(bytes.subarray(0, BYTES / 2));
  });
  return {
    port,
    hash: sha256(bytes),
    goOn: () => sockets.forEach((socket) => void socket.end(bytes.subarray(BYTES / 2))),
  };
}

describe('an exit with two relays', () => {
  it('a download goes on by the other relay, without a new session, when the one in use is killed', {
    timeout: 120_000,
  }, async () => {
    const { relays, exit } = await startPair();
    const secret = await invite(exit, 'alice', { allow: ['127.0.0.1'] });
    expect(decodeInvite(secret).relayUrls).toEqual(relays.map(({ url }) => url));
    const client = await startClient(secret);
    const { port, hash, goOn } = await download();
    const socket = await connectThrough('SOCKS5', client.port, port);
    const received = receive(socket);
    const { used, other } = await relayInUse(relays);
    goOn();
    await used.process.kill();
    expect(await received).toEqual({ bytes: BYTES, hash });
    const names = client.process.events.map(({ event }) => event);
    // On a busy machine a link that is late is left without a loss.
    expect(names.some((name) => name === 'resumed' || name === 'relay')).toBe(true);
    expect(names).not.toContain('session-lost');
    expect(names).not.toContain('connected');
    expect(exit.process.stderr.split('session started')).toHaveLength(2);
    expect(await statusOf(other)).toMatchObject({ peerCount: 1, exits: [{ name: 'home' }] });
    // The exit is registered all the while.
    expect(exit.process.events.filter(({ event }) => event === 'retrying' || event === 'connected')).toEqual([]);
    expect(await exit.process.event('relay')).toMatchObject({ relay: used.url, registered: false });
    const { relay, relays: places } = await statusOf(exit);
    expect(relay).toMatchObject({ address: new URL(other.url).host, registeredAt: expect.any(Number) });
    expect(places).toHaveLength(2);
    expect(places.find(({ registeredAt }: { registeredAt?: number }) => registeredAt === undefined)).toMatchObject({
      address: new URL(used.url).host,
      fault: { code: expect.stringMatching(/^WSTUN-E2/) },
    });
  });

  it('each relay can be restarted in turn, and a connection lives on', { timeout: 120_000 }, async () => {
    const { relays, exit } = await startPair();
    const client = await startClient(await invite(exit, 'alice', { allow: ['127.0.0.1'] }));
    const socket = await connectThrough('SOCKS5', client.port, await tcpServer(echo));
    for (const { process, state, port } of relays) {
      process.signal('SIGTERM');
      await process.exited;
      await startRelay({ state, port, args: ['--no-exit'] });
      await until(() => exit.process.events.at(-1)?.registered === true, 40_000);
      socket.write('still here');
      expect((await take(socket, 10)).toString()).toBe('still here');
    }
    expect(client.process.events.map(({ event }) => event)).not.toContain('session-lost');
    expect(exit.process.events.filter(({ event }) => event === 'retrying')).toEqual([]);
  });
});

describe('an exit with two URLs of one relay', () => {
  it('it keeps one registration, and nobody hears of a rival', { timeout: 60_000 }, async () => {
    const relay = await startRelay({ args: ['--no-exit'] });
    const urls = [relay.url, relay.url.replace('127.0.0.1', 'localhost')];
    const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit', urls }), args: ['-v'] });
    await until(() => exit.process.events.some(({ sameAs }) => sameAs === relay.url), 20_000);
    const { relays } = await statusOf(exit);
    expect(relays).toMatchObject([
      { address: new URL(relay.url).host, registeredAt: expect.any(Number) },
      { sameAs: new URL(relay.url).host },
    ]);
    expect(exit.process.events.filter(({ event }) => event === 'retrying')).toEqual([]);
    expect(exit.process.stderr).not.toContain('WSTUN-E213');
  });
});
