/**
 * Networks that stop each connection after a while: they freeze it after some bytes, reset it at an age, or cut it when
 * it is idle. What is learnt of them is told once, and later links are left before it happens. Real programs; a
 * middlebox is the network.
 */
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { Middlebox, type MiddleboxRules } from '../support/net/middlebox.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { payload, sha256 } from '../support/payload.ts';
import { runWell } from '../support/programs/programs.ts';
import { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { until } from '../support/until.ts';

const BYTES = 1_000_000;
const FREEZES_AFTER = 16 * 1024;
const IDLE_MS = 4_000;
const LIMIT_MS = 240_000;

/** An invite whose relay is behind such a network. */
async function inviteBehind(rules: MiddleboxRules): Promise<{ secret: string; box: Middlebox }> {
  const relay = await startRelay();
  const box = await Middlebox.start(relay.port, rules);
  const secret = await invite(relay, 'limited', { allow: ['*'], url: `ws://127.0.0.1:${box.port}` });
  return { secret, box };
}

async function startWeb(): Promise<number> {
  const server = createServer((_request, response) => void response.end(payload(BYTES, 1)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(() => void server.close().closeAllConnections());
  return (server.address() as AddressInfo).port;
}

async function expectDownload(proxy: number | string): Promise<void> {
  const url = `http://127.0.0.1:${await startWeb()}/`;
  const curl = `curl -qsS --fail -x socks5h://127.0.0.1:${proxy} ${url} | sha256sum`;
  expect((await runWell('sh', ['-c', curl], { limitMs: LIMIT_MS / 2 })).slice(0, 64)).toBe(sha256(payload(BYTES, 1)));
}

/** For as long as it lives. */
function trickleTo(socket: Socket): void {
  const timer = setInterval(() => socket.write('x'), 200);
  socket.once('close', () => clearInterval(timer));
}

function eventsOf(client: WstunProcess, ...names: readonly string[]) {
  return client.events.filter(({ event }) => names.includes(event));
}

/** With --json, or without. */
async function downloadFrozen(json: readonly string[]): Promise<WstunProcess> {
  const { secret } = await inviteBehind({ freezesAfterBytes: FREEZES_AFTER });
  const client = new WstunProcess(['client', '--listen', '127.0.0.1:0', ...json], { env: { WSTUN_INVITE: secret } });
  const address = () => /(?:"listen":"|socks5h:\/\/)127\.0\.0\.1:(\d+)/.exec(client.stdout + client.stderr)?.[1];
  await until(() => address() !== undefined, 10_000);
  await expectDownload(address() ?? '');
  return client;
}

it('a download completes on a network that freezes connections after 16 KB, and the client reports that once', {
  timeout: LIMIT_MS,
}, async () => {
  const [client, talking] = await Promise.all([downloadFrozen(['--json']), downloadFrozen([])]);
  const limits = eventsOf(client, 'limit');
  expect(limits).toMatchObject([{ what: 'froze', by: 'bytesReceived' }]);
  expect(Number(limits[0]?.value)).toBeGreaterThan(8_000);
  expect(Number(limits[0]?.value)).toBeLessThanOrEqual(FREEZES_AFTER);
  expect(eventsOf(client, 'session-lost')).toEqual([]);
  const sentence = /this network freezes connections after about \d+ KB received/g;
  expect((talking.stdout + talking.stderr).match(sentence)).toHaveLength(1);
});

it('`--link-max-bytes 16KB` uses no link for so long that a network freezes it after that', {
  timeout: LIMIT_MS,
}, async () => {
  const { secret, box } = await inviteBehind({ freezesAfterBytes: FREEZES_AFTER });
  const { process: client, port } = await startClient(secret, { args: ['--link-max-bytes', '16KB'] });
  await expectDownload(port);
  expect(eventsOf(client, 'limit', 'stalled', 'lost', 'session-lost')).toEqual([]);
  expect(box.ended).toBe(0);
});

it('a client whose links are reset at an age learns that age, and then reports no loss any more', {
  timeout: LIMIT_MS,
}, async () => {
  // Links are left at 70 % of it: on a slow machine the next one takes a second.
  const { secret, box } = await inviteBehind({ resetsAtMs: 5_000 });
  const { process: client, port } = await startClient(secret);
  // What is idle could be cut for that.
  const trickle = await connectThrough('SOCKS5', port, await tcpServer(trickleTo));
  trickle.resume();
  expect(await client.event('limit', 30_000)).toMatchObject({ by: 'ageMs' });
  // Of the link whose loss told it.
  await client.event('resumed');
  const [told, connections] = [client.events.length, box.connections];
  await until(() => box.connections >= connections + 2, 20_000);
  expect(client.events.slice(told)).toEqual([]);
  await expectDownload(port);
});

it('a client whose idle links are cut learns that, and then keeps them busy', { timeout: LIMIT_MS }, async () => {
  const { secret, box } = await inviteBehind({ resetsIdleMs: IDLE_MS });
  const { process: client, port } = await startClient(secret, { args: ['--links', '3'] });
  expect(await client.event('limit', 20_000)).toMatchObject({ by: 'idleMs' });
  await until(() => box.open >= 3, 10_000);
  // Longer than an idle connection lives: one that was opened before may be cut.
  await delay(IDLE_MS + 500);
  const { ended } = box;
  await delay(IDLE_MS + 500);
  expect(box.ended).toBe(ended);
  await expectDownload(port);
});
