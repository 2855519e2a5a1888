/**
 * A relay at one of its limits, reached through a phone's page: the client says what it is told, tries again with
 * growing waits, and connects as soon as it may; sessions that are established notice nothing.
 */
import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { BALLAST_LIMIT_MIB, ballastEnv, shiftBallast } from '../support/programs/ballast.ts';
import type { WstunEvent, WstunProcess } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RelayOptions,
  type RunningRelay,
  spawnClient,
  startClient,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { openRaw } from '../support/proxy/raw-http.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { CarryingPage } from '../support/tether/carrying-page.ts';
import { Phone } from '../support/tether/phone.ts';
import { nextCode, proxyPort, startScripted, TETHER_ARGS } from '../support/tether/tethered.ts';
import { until } from '../support/until.ts';

const LIMIT_MS = 180_000;
/** What an attempt takes, on a busy machine. */
const ATTEMPT_MS = 3_000;
/** Before the fourth attempt; there may be one more before room is made. */
const LONGEST_WAIT_MS = 7_000;
/** Timers may be early by a millisecond, and what is said is rounded. */
const EARLY_MS = 2;

async function stateWith(limits: string): Promise<string> {
  const state = await tempDir();
  await writeFile(join(state, 'limits.toml'), limits);
  return state;
}

async function relayWith(limits: string, options: RelayOptions = {}): Promise<RunningRelay> {
  return startRelay({ state: await stateWith(limits), ...options });
}

async function expectMoving(socket: Socket): Promise<void> {
  socket.write('moves');
  expect((await take(socket, 5)).toString()).toBe('moves');
}

/** A connection by a client without a phone. */
async function connected(secret: string, target: number): Promise<{ socket: Socket; process: WstunProcess }> {
  const { port, process } = await startClient(secret);
  return { socket: await connectThrough('SOCKS5', port, target), process };
}

/** What the client says of its first two attempts, which fail. */
async function twoFailures(client: WstunProcess): Promise<WstunEvent[]> {
  const failures = [await client.event('retrying'), await client.event('retrying')];
  expect(client.events.map(({ event }) => event)).not.toContain('ready');
  return failures;
}

/** The page was asked no sooner than the client had said. */
function expectWaited({ links: [one, two] }: CarryingPage, [first]: readonly WstunEvent[]): void {
  expect(Number(two?.requestedAt) - Number(one?.requestedAt)).toBeGreaterThan(Number(first?.waitMs) - EARLY_MS);
}

/** In at the attempt of which it spoke last, now that there is room. Its proxy. */
async function untilIn(client: WstunProcess): Promise<number> {
  const since = performance.now();
  const port = await proxyPort(client, LONGEST_WAIT_MS + ATTEMPT_MS);
  const waits = client.events.filter(({ event }) => event === 'retrying').map(({ waitMs }) => Number(waitMs));
  expect(performance.now() - since).toBeLessThan((waits.at(-1) ?? 0) + ATTEMPT_MS);
  return port;
}

describe('a relay that is short of memory', () => {
  it('a relay short of memory tells a client behind a phone to try later, and accepts it later', {
    timeout: LIMIT_MS,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await relayWith(`memory = "${BALLAST_LIMIT_MIB}MiB"\n`, { env: ballastEnv() });
    const bob = await connected(await invite(relay, 'bob', { allow: ['*'] }), target);
    const laptop = await invite(relay, 'laptop', { allow: ['*'] });
    await shiftBallast(relay.process);
    const client = spawnClient(laptop, { args: TETHER_ARGS });
    const page = await (await Phone.start()).open(await nextCode(client));
    for (const failure of await twoFailures(client))
      expect(failure).toMatchObject({ code: 'WSTUN-E216', message: expect.stringContaining('short of memory') });
    await expectMoving(bob.socket);
    await shiftBallast(relay.process);
    await expectMoving(await connectThrough('SOCKS5', await untilIn(client), target));
    await page.until('active');
    await expectMoving(bob.socket);
    expect(client.events.filter(({ event }) => event === 'tether-lost')).toEqual([]);
  });

  it('a relay short of memory keeps a session through a phone, also after the loss of its link', {
    timeout: LIMIT_MS,
  }, async () => {
    const { relay, client, port, page } = await startScripted({
      state: await stateWith(`memory = "${BALLAST_LIMIT_MIB}MiB"\n`),
      env: ballastEnv(),
    });
    const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
    await shiftBallast(relay.process);
    await expectMoving(socket);
    page.links[0]?.upstream.terminate();
    await client.event('resumed');
    await expectMoving(socket);
  });
});

describe('a name with as many sessions as it may have', () => {
  it('a name with all its sessions in use gets no other through a phone until one ends', {
    timeout: LIMIT_MS,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const secret = await invite(relay, 'alice', { allow: ['*'], sessions: '1' });
    const first = await connected(secret, target);
    const client = spawnClient(secret, { args: TETHER_ARGS });
    const page = await CarryingPage.join(await nextCode(client));
    const failures = await twoFailures(client);
    for (const failure of failures) expect(failure).toMatchObject({ code: 'WSTUN-E214' });
    expectWaited(page, failures);
    await expectMoving(first.socket);
    await first.process.kill();
    await expectMoving(await connectThrough('SOCKS5', await untilIn(client), target));
  });
});

describe('a relay with as many links as it may have', () => {
  it('a relay with all its links in use rejects a phone until one is free', { timeout: LIMIT_MS }, async () => {
    const target = await tcpServer(echo);
    const relay = await relayWith('links = 1\n');
    const bob = await connected(await invite(relay, 'bob', { allow: ['*'] }), target);
    const client = spawnClient(await invite(relay, 'laptop', { allow: ['*'] }), { args: TETHER_ARGS });
    const page = await CarryingPage.join(await nextCode(client));
    const failures = await twoFailures(client);
    for (const failure of failures) expect(failure).toMatchObject({ code: 'WSTUN-E218' });
    expectWaited(page, failures);
    // The answer for strangers.
    expect(page.links.slice(0, 2).map(({ refused }) => refused)).toEqual([404, 404]);
    await expectMoving(bob.socket);
    await bob.process.kill();
    await expectMoving(await connectThrough('SOCKS5', await untilIn(client), target));
  });
});

describe('a relay with all its pending connections in use', () => {
  it('a relay with all its pending connections in use accepts a phone, and closes the slowest stranger', {
    timeout: LIMIT_MS,
  }, async () => {
    const relay = await relayWith('pending = 2\n');
    const strangers = Array.from({ length: 4 }, () => openRaw(relay.port).resume());
    await until(() => strangers.filter(({ destroyed }) => destroyed).length >= 2);
    const client = spawnClient(await invite(relay, 'laptop', { allow: ['*'] }), { args: TETHER_ARGS });
    await CarryingPage.join(await nextCode(client));
    const port = await proxyPort(client);
    await expectMoving(await connectThrough('SOCKS5', port, await tcpServer(echo)));
    await until(() => strangers.filter(({ destroyed }) => destroyed).length >= 3);
    expect(client.events.map(({ event }) => event)).not.toContain('retrying');
  });
});
