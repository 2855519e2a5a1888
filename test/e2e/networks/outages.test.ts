/**
 * What carries stops doing so, all at once: a proxy wants another password, a web server passes no upgrade on any more.
 * Ten streams that are in use lose nothing, and go on within seconds.
 * @module-tag waits
 */
import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { occurrences } from '../../support/net/recording-proxy.ts';
import { echo, tcpServer } from '../../support/net/tcp.ts';
import { payload } from '../../support/payload.ts';
import { startFronts } from '../../support/programs/nginx.ts';
import { startSquid } from '../../support/programs/squid.ts';
import { invite, type RunningClient, startClient, startRelay } from '../../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../../support/proxy/through-proxy.ts';
import { tempDir } from '../../support/temp-dir.ts';

/** From when links are cut to when all streams carry again. */
const BACK_WITHIN_MS = 5_000;
const STREAMS = 10;

async function openStreams({ port }: RunningClient): Promise<readonly Socket[]> {
  const target = await tcpServer(echo);
  return await Promise.all(Array.from({ length: STREAMS }, () => connectThrough('SOCKS5', port, target)));
}

/** Each sends other bytes, and gets them back, whole and in order. */
async function roundTrips(streams: readonly Socket[], seed: number): Promise<void> {
  const trip = async (stream: Socket, lane: number): Promise<void> => {
    const sent = payload(20_000, seed + lane);
    stream.write(sent);
    expect((await take(stream, sent.length)).equals(sent)).toBe(true);
  };
  await Promise.all(streams.map(trip));
}

/** @param stop cuts the links */
async function expectNoLoss(client: RunningClient, stop: () => Promise<unknown>): Promise<void> {
  const streams = await openStreams(client);
  await roundTrips(streams, 1);
  await stop();
  await client.process.event('lost');
  const since = performance.now();
  await roundTrips(streams, 100);
  expect(performance.now() - since).toBeLessThan(BACK_WITHIN_MS);
  expect(streams.every(({ destroyed }) => !destroyed)).toBe(true);
  expect(client.process.events.filter(({ event }) => event === 'session-lost')).toEqual([]);
}

it('a proxy that restarts with another password costs no stream, if the password file has changed by then', async () => {
  const [old, next] = ['the-first-password', 'the-second-password'];
  const relay = await startRelay();
  const squid = await startSquid({ schemes: ['basic'], users: { ann: old } });
  const file = join(await tempDir(), 'password');
  await writeFile(file, `ann:${old}\n`, { mode: 0o600 });
  const args = ['-v', '--proxy', `http://127.0.0.1:${squid.port}`, '--proxy-auth-file', file];
  const client = await startClient(await invite(relay, 'laptop', { allow: ['*'] }), { args });
  await expectNoLoss(client, async () => {
    await squid.setUsers({ ann: next });
    await squid.restart();
    await writeFile(file, `ann:${next}\n`, { mode: 0o600 });
  });
  const said = [client.process.stdout, client.process.stderr, relay.process.stderr].map((text) => Buffer.from(text));
  for (const password of [old, next, `ann:${old}`, `ann:${next}`])
    expect(occurrences(Buffer.from(password), said)).toBe(0);
});

it('nginx that passes no upgrade on from one moment to the next costs no stream', async () => {
  const relay = await startRelay();
  const fronts = await startFronts(1, relay.port);
  const url = `ws://127.0.0.1:${fronts.ports[0]}`;
  const client = await startClient(await invite(relay, 'laptop', { allow: ['*'], url }));
  await expectNoLoss(client, () => fronts.switchTo(['strip']));
  const [route] = client.process.events.filter(({ event }) => event === 'route');
  expect(route).toMatchObject({ carrier: 'http', failed: [{ carrier: 'websocket', code: 'WSTUN-E219' }] });
});
