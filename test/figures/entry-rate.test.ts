/** The rate of a name, with real traffic: a change of the list takes effect within two seconds. */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { tcpServer } from '../support/net/tcp.ts';
import { invite, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';
import { edit, flood } from './access-edits.ts';

/** More than a rate lets through at once after a pause. */
const UNDER_WAY_BYTES = 512 * 1024;

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
    timeout: 180_000,
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
