/** The limits of `limits.toml`, each exceeded by one: what is too much is rejected, and the rest goes on. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blackHole } from '../support/net/black-hole.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningClient,
  type RunningRelay,
  spawnClient,
  startClient,
  startExit,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { openRaw } from '../support/proxy/raw-http.ts';
import { askSocks5, connectThrough, socks5Request, take } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

/** A full dial, and the wait for a slot. */
const DIAL_LIMIT_MS = 30_000;

async function relayWith(limits: string): Promise<RunningRelay> {
  const state = await tempDir();
  await writeFile(join(state, 'limits.toml'), limits);
  return startRelay({ state });
}

async function clientOf(relay: RunningRelay, name = 'alice'): Promise<RunningClient> {
  return startClient(await invite(relay, name, { allow: ['127.0.0.1'] }));
}

async function replyFor({ port }: RunningClient, target: number): Promise<number | undefined> {
  return (await askSocks5(port, socks5Request('127.0.0.1', target))).code;
}

/** Resolves when the relay's dial is under way. */
async function dialInVain(
  relay: RunningRelay,
  client: RunningClient,
  silent: number,
): Promise<{ readonly reply: Promise<number | undefined> }> {
  const before = relay.process.openSockets();
  const reply = replyFor(client, silent);
  await until(() => relay.process.openSockets() > before);
  return { reply };
}

async function expectMoving(socket: Awaited<ReturnType<typeof connectThrough>>): Promise<void> {
  socket.write('moves');
  expect((await take(socket, 5)).toString()).toBe('moves');
}

describe('what a session may have', () => {
  it('an exit rejects one stream more than `streams` allows, until another has ended', async () => {
    const target = await tcpServer(echo);
    const client = await clientOf(await relayWith('streams = 2\n'));
    const [first, second] = [
      await connectThrough('SOCKS5', client.port, target),
      await connectThrough('SOCKS5', client.port, target),
    ];
    expect(await replyFor(client, target)).toBe(1);
    await expectMoving(first);
    second.destroy();
    await expect.poll(() => replyFor(client, target)).toBe(0);
  });

  it('an exit rejects streams that are opened faster than `opens` allows, and others go on', async () => {
    const target = await tcpServer(echo);
    const client = await clientOf(await relayWith('opens = 2\n'));
    const start = performance.now();
    const codes = await Promise.all(Array.from({ length: 40 }, () => replyFor(client, target)));
    const open = codes.filter((code) => code === 0).length;
    expect(open).toBeGreaterThanOrEqual(4);
    expect(open).toBeLessThanOrEqual(4 + 2 * Math.ceil((performance.now() - start) / 1000));
    expect(new Set(codes)).toEqual(new Set([0, 1]));
    await expect.poll(() => replyFor(client, target), { timeout: 30_000, interval: 200 }).toBe(0);
  });
});

describe('dials under way', () => {
  it('a dial beyond `dials` waits until another of its name has failed; other names have their own slots', {
    timeout: DIAL_LIMIT_MS,
  }, async () => {
    const [target, silent] = [await tcpServer(echo), await blackHole()];
    const relay = await relayWith('dials = 1\n');
    const [alice, bob] = [await clientOf(relay), await clientOf(relay, 'bob')];
    const tarpit = await dialInVain(relay, alice, silent);
    const late = replyFor(alice, target);
    expect(await replyFor(bob, target)).toBe(0);
    expect(await late).toBe(0);
    expect(await tarpit.reply).toBe(1);
  });

  it('a dial beyond `all_dials` waits, whichever name it is of', { timeout: DIAL_LIMIT_MS }, async () => {
    const [target, silent] = [await tcpServer(echo), await blackHole()];
    const relay = await relayWith('all_dials = 1\n');
    const [alice, bob] = [await clientOf(relay), await clientOf(relay, 'bob')];
    const tarpit = await dialInVain(relay, alice, silent);
    expect(await replyFor(bob, target)).toBe(1);
    expect(await tarpit.reply).toBe(6);
    expect(await replyFor(bob, target)).toBe(0);
  });
});

describe('memory of the process', () => {
  it.each(['relay', 'exit'] as const)(
    'a process over `memory`, a %s, tells new sessions to try later',
    async (which) => {
      const relay = await relayWith(which === 'relay' ? 'memory = "32MiB"\n' : '');
      let secret = await invite(relay, 'alice');
      if (which === 'exit') {
        const state = await tempDir();
        await writeFile(join(state, 'limits.toml'), 'memory = "32MiB"\n');
        secret = await invite(
          await startExit({ state, invite: await invite(relay, 'home', { role: 'exit' }) }),
          'alice',
        );
      }
      const client = spawnClient(secret);
      // The relay may not know the name yet when it comes for the first time.
      await until(() => client.events.filter(({ code }) => code === 'WSTUN-E216').length >= 2, 20_000);
      expect(client.events.map(({ event }) => event)).not.toContain('ready');
    },
  );
});

describe('what a relay may have', () => {
  it('a relay with `links` in use looks at no ticket, and established links go on', async () => {
    const target = await tcpServer(echo);
    const relay = await relayWith('links = 1\n');
    const client = await clientOf(relay);
    const socket = await connectThrough('SOCKS5', client.port, target);
    const late = spawnClient(await invite(relay, 'bob'));
    expect(await late.event('retrying')).toMatchObject({ code: 'WSTUN-E222' });
    await expectMoving(socket);
  });

  it('a relay closes the oldest of more pending connections than `pending` allows', async () => {
    const relay = await relayWith('pending = 2\n');
    const [oldest, second] = [openRaw(relay.port), openRaw(relay.port)];
    await Promise.all([oldest, second].map((socket) => once(socket, 'connect')));
    const closed = once(oldest, 'close');
    const third = openRaw(relay.port);
    await closed;
    expect([second.destroyed, third.destroyed]).toEqual([false, false]);
    for (const socket of [second, third]) socket.destroy();
  });
});

describe('a faulty limits.toml', () => {
  it.each([
    ['streams = 0', 'streams must be a number from 1 to 65536'],
    ['memory = 1000000000', 'memory must be bytes'],
    ['stream = 5', 'it has "stream", but can have only streams, opens'],
    ['streams = ', 'line 1'],
  ])('a relay rejects `%s` in limits.toml, and says what is wrong', async (text, reason) => {
    const state = await tempDir();
    await writeFile(join(state, 'limits.toml'), text);
    const { code, stderr } = await wstun(['relay', '--listen', '127.0.0.1:0', '--state', state]);
    expect([code, stderr]).toEqual([78, expect.stringContaining(reason)]);
    expect(stderr).toContain('WSTUN-E122');
  });
});
