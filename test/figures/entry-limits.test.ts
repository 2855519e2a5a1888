/**
 * What one name may use at most, with real traffic: a change of the list takes effect within two seconds, and touches
 * no other name.
 */
import { readFile, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/tcp.ts';
import { askHttp, askSocks5, connectThrough, endOf, socks5Request, take, takeUntil } from '../support/through-proxy.ts';
import { until } from '../support/until.ts';
import { wstun } from '../support/wstun-process.ts';
import { invite, type RunningRelay, spawnClient, startClient, startRelay } from '../support/wstun-stack.ts';

/** By which a change must have taken effect. */
const PROMISED_MS = 2_000;
/** Of a client between two attempts, and what an attempt takes. */
const LONGEST_WAIT_MS = 35_000;
/** More than a rate lets through at once after a pause. */
const UNDER_WAY_BYTES = 512 * 1024;
const BLOCK = Buffer.alloc(64 * 1024, 'limits');

/** Resolves when the relay has taken the change up. */
async function edit({ state, process }: RunningRelay, from: string, to: string): Promise<void> {
  const reloads = () => process.stderr.split('access list reloaded').length;
  const before = reloads();
  const file = join(state, 'access.toml');
  const lines = (await readFile(file, 'utf8')).split('\n');
  // The comment at its head has examples.
  await writeFile(file, lines.map((line) => (line.startsWith('#') ? line : line.replace(from, to))).join('\n'));
  await until(() => reloads() > before, PROMISED_MS);
}

/** Writes without end, as fast as the other side reads. */
function flood(socket: Socket): void {
  const more = () => {
    while (!socket.destroyed && socket.write(BLOCK));
  };
  socket.on('drain', more);
  more();
}

/** Counts what comes. */
function meter(socket: Socket): { bytes: number } {
  const count = { bytes: 0 };
  socket.on('data', (chunk: Buffer) => {
    count.bytes += chunk.length;
  });
  socket.resume();
  return count;
}

/** Megabits a second of each over so long a time. */
async function ratesOver(ms: number, ...counts: readonly { bytes: number }[]): Promise<number[]> {
  const before = counts.map(({ bytes }) => bytes);
  const start = performance.now();
  await delay(ms);
  const elapsed = performance.now() - start;
  return counts.map(({ bytes }, at) => ((bytes - (before[at] ?? 0)) * 8) / elapsed / 1000);
}

function expectNear(rate: number, wanted: number): void {
  expect(rate).toBeGreaterThan(wanted * 0.85);
  expect(rate).toBeLessThan(wanted * 1.15);
}

describe('the rate of a name', () => {
  it('the rate of a name limits all its streams together in each direction, follows the list, and slows no other name', {
    timeout: 60_000,
  }, async () => {
    const uploaded = { bytes: 0 };
    const source = await tcpServer(flood);
    const drain = await tcpServer((socket) => {
      socket.on('data', (chunk) => {
        uploaded.bytes += chunk.length;
      });
    });
    const relay = await startRelay();
    const secret = await invite(relay, 'alice', { allow: ['127.0.0.1'], rate: '20mbit' });
    const [one, other] = [await startClient(secret), await startClient(secret)];
    const bob = await startClient(await invite(relay, 'bob', { allow: ['127.0.0.1'], rate: '80mbit' }));
    const [first, second, his] = [
      meter(await connectThrough('SOCKS5', one.port, source)),
      meter(await connectThrough('SOCKS5', other.port, source)),
      meter(await connectThrough('SOCKS5', bob.port, source)),
    ];
    flood(await connectThrough('SOCKS5', one.port, drain));
    await until(() => [first, second, uploaded, his].every(({ bytes }) => bytes > UNDER_WAY_BYTES));
    const [a = 0, b = 0, up = 0, bobs = 0] = await ratesOver(4_000, first, second, uploaded, his);
    expectNear(a + b, 20);
    expectNear(a, b);
    expectNear(up, 20);
    expectNear(bobs, 80);

    await edit(relay, '20mbit', '40mbit');
    const [c = 0, d = 0, upAfter = 0, bobsAfter = 0] = await ratesOver(4_000, first, second, uploaded, his);
    expectNear(c + d, 40);
    expectNear(upAfter, 40);
    expectNear(bobsAfter, 80);
  });
});

describe('the quota of a name', () => {
  it('a used up quota resets the streams of a name and rejects new ones with the reason, until it is raised; other names go on', async () => {
    const source = await tcpServer(flood);
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const alice = await startClient(await invite(relay, 'alice', { allow: ['127.0.0.1'], quota: '3MB' }));
    const bob = await startClient(await invite(relay, 'bob', { allow: ['127.0.0.1'] }));
    const [hers, his] = [
      await connectThrough('SOCKS5', alice.port, source),
      await connectThrough('CONNECT', bob.port, target),
    ];
    expect(await endOf(hers)).toBe('reset');
    expect((await askSocks5(alice.port, socks5Request('127.0.0.1', target))).code).toBe(2);
    const refused = await askHttp(alice.port, `CONNECT 127.0.0.1:${target} HTTP/1.1\r\nHost: x`);
    expect(refused.status).toBe(403);
    expect(await takeUntil(refused.socket, '\n')).toContain('WSTUN-E313');
    his.write('moves');
    expect((await take(his, 5)).toString()).toBe('moves');

    await edit(relay, '"3MB"', '"1GB"');
    const again = await connectThrough('SOCKS5', alice.port, target);
    again.write('again');
    expect((await take(again, 5)).toString()).toBe('again');
    for (const socket of [again, his]) socket.destroy();

    relay.process.signal('SIGTERM');
    expect(await relay.process.exited).toBe(0);
    const { stdout } = await wstun(['access', 'list', '--json', '--state', relay.state]);
    const listed = JSON.parse(stdout) as { name: string; quota?: number; used?: number }[];
    const [entry] = listed.filter(({ name }) => name === 'alice');
    expect(entry?.quota).toBe(1_000_000_000);
    expect(entry?.used).toBeGreaterThanOrEqual(3_000_000);
    expect(listed.find(({ name }) => name === 'bob')?.used).toBe(10);
  });
});

describe('sessions of a name', () => {
  it('a session beyond the limit of a name is rejected with the reason, and accepted when another ends; other names go on', {
    timeout: 60_000,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const secret = await invite(relay, 'alice', { allow: ['127.0.0.1'], sessions: '2' });
    const first = await startClient(secret);
    const second = await startClient(secret);
    const third = spawnClient(secret);
    expect(await third.event('retrying')).toMatchObject({ code: 'WSTUN-E214' });
    expect(third.events.map(({ event }) => event)).not.toContain('ready');

    const bob = await startClient(await invite(relay, 'bob', { allow: ['127.0.0.1'] }));
    for (const { port } of [first, second, bob]) {
      const socket = await connectThrough('SOCKS5', port, target);
      socket.write('moves');
      expect((await take(socket, 5)).toString()).toBe('moves');
    }
    await second.process.kill();
    await third.event('ready', LONGEST_WAIT_MS);
    expect(first.process.events.map(({ event }) => event)).toEqual(['ready']);
  });
});
