/**
 * A UDP forward whose link is reset again and again: what was on its way is lost, and nothing else.
 * @module-tag waits
 */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { startChaosProxy } from '../support/net/chaos-proxy.ts';
import { udpEcho } from '../support/net/datagram-run.ts';
import { UdpClient } from '../support/net/udp.ts';
import { PATIENCE } from '../support/patience.ts';
import { prng } from '../support/prng.ts';
import { invite, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { until } from '../support/until.ts';

const SEED = 7;
const RESETS = 5;
const BETWEEN_MS = 2_000;
/** As of a call: the test is about what links lose, not about what a busy machine cannot carry. */
const PACE_MS = 20;

/** Number and contents of a datagram of 4 to 400 bytes. */
function datagram(number: number): Buffer {
  const random = prng(SEED + number);
  const bytes = Buffer.from(Uint8Array.from({ length: 4 + random.below(396) }, () => random.below(256)));
  bytes.writeUInt32BE(number, 0);
  return bytes;
}

it(`a link that is reset every 2 s loses only the datagrams on their way, and the association goes on (seed ${SEED})`, {
  timeout: 120_000,
}, async () => {
  const relay = await startRelay();
  const proxy = await startChaosProxy({ target: { host: '127.0.0.1', port: relay.port }, seed: SEED });
  const secret = await invite(relay, 'tester', { allow: ['*'], url: `ws://127.0.0.1:${proxy.port}` });
  const far = await udpEcho();
  const senders = new Set<number>();
  far.socket.on('message', (_bytes, { port }) => void senders.add(port));
  // One link: a busy machine makes it look late, and then others overtake it.
  const client = await startClient(secret, { args: ['--links', '1', '-L', `0:127.0.0.1:${far.port}/udp`] });
  const { events } = client.process;
  await until(() => events.some(({ event }) => event === 'forward'));
  const place = String(events.find(({ event }) => event === 'forward')?.listen);
  const near = await UdpClient.open();

  const sentAt: number[] = [];
  let isOver = false;
  const sending = (async () => {
    for (let number = 0; !isOver; number++) {
      sentAt.push(performance.now());
      await near.send(datagram(number), Number(place.split(':').at(-1)));
      await delay(PACE_MS);
    }
  })();
  const away: [from: number, to: number][] = [];
  for (let reset = 0; reset < RESETS; reset++) {
    await delay(BETWEEN_MS);
    const from = performance.now();
    const before = near.received.length;
    proxy.resetAll();
    // Back when something comes that was sent after the reset.
    await until(() => near.received.slice(before).some(({ bytes }) => (sentAt[bytes.readUInt32BE(0)] ?? 0) > from));
    away.push([from, performance.now()]);
  }
  isOver = true;
  await sending;
  await until(() => near.received.at(-1)?.bytes.readUInt32BE(0) === sentAt.length - 1);

  const numbers = near.received.map(({ bytes }) => bytes.readUInt32BE(0));
  expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
  for (const { bytes } of near.received) expect(bytes).toEqual(datagram(bytes.readUInt32BE(0)));
  const arrived = new Set(numbers);
  // On its way, or waiting for longer than 250 ms, when the link was reset.
  const isExcused = (at: number) => away.some(([from, to]) => at > from - 300 * PATIENCE && at < to);
  const lost = sentAt.filter((at, number) => !arrived.has(number) && !isExcused(at));
  expect(lost).toEqual([]);
  expect(arrived.size).toBeGreaterThan(sentAt.length / 2);
  expect(events.filter(({ event }) => event === 'resumed').length).toBeGreaterThanOrEqual(RESETS);
  // The mapping of the exit outlived them all.
  expect(senders.size).toBe(1);
});
