/**
 * A client that uses all ways at once: two relay addresses, one of them behind a proxy that can stop, or the direct
 * connection and a phone's page.
 */
import type { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { decodeInvite, encodeInvite } from '../../src/crypto/invite.ts';
import { type ChaosProxy, startChaosProxy } from '../support/net/chaos-proxy.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { receive, sendPayload } from '../support/payload.ts';
import { invite, spawnClient, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';
import { CarryingPage } from '../support/tether/carrying-page.ts';
import { nextCode, proxyPort } from '../support/tether/tethered.ts';
import { until } from '../support/until.ts';

const LIMIT_MS = 240_000;
const MIB = 1024 * 1024;
/** An echo waits a second at most where the machine is not busy. */
const GAP_MS = 3_000;
const RATE = 2 * MIB;

/** Echoes byte by byte; the longest that one took, ms. */
function pulse(socket: Socket): { longestMs: number; rounds: number; stop(): Promise<void> } {
  let isOver = false;
  const state = { longestMs: 0, rounds: 0, stop: () => done };
  const done = (async () => {
    while (!isOver) {
      const since = performance.now();
      socket.write(Uint8Array.of(state.rounds & 255));
      const [byte] = await take(socket, 1);
      if (byte !== (state.rounds & 255)) throw new Error('another byte came back');
      state.rounds += 1;
      state.longestMs = Math.max(state.longestMs, performance.now() - since);
    }
  })();
  return Object.assign(state, {
    stop: () => {
      isOver = true;
      return done;
    },
  });
}

/** A download and an echo; `disturb` is called when a quarter has arrived. */
async function expectUndisturbed(port: number, bytes: number, disturb: () => unknown): Promise<void> {
  let sent: Promise<string> | undefined;
  const source = await tcpServer((socket) => {
    sent = sendPayload(socket, bytes, 2);
  });
  const heart = pulse(await connectThrough('SOCKS5', port, await tcpServer(echo)));
  const download = await connectThrough('SOCKS5', port, source);
  let arrived = 0;
  let isDisturbed = false;
  download.on('data', (chunk: Buffer) => {
    arrived += chunk.length;
    if (isDisturbed || arrived < bytes / 4) return;
    isDisturbed = true;
    disturb();
  });
  const got = await receive(download);
  await heart.stop();
  expect(isDisturbed).toBe(true);
  expect(got).toEqual({ bytes, hash: await sent });
  expect(heart.longestMs).toBeLessThan(GAP_MS);
}

async function twoWays(): Promise<{ proxies: readonly [ChaosProxy, ChaosProxy]; secret: string }> {
  const relay = await startRelay();
  const slow = { target: { host: '127.0.0.1', port: relay.port }, bytesPerSecond: RATE, seed: 1 };
  const proxies = [
    await startChaosProxy({ ...slow, delayMs: 10 }),
    await startChaosProxy({ ...slow, delayMs: 30 }),
  ] as const;
  const one = decodeInvite(await invite(relay, 'alice', { allow: ['*'] }));
  const relayUrls = proxies.map(({ port }) => `ws://127.0.0.1:${port}`);
  return { proxies, secret: encodeInvite({ ...one, relayUrls }) };
}

it('a client with --bond carries a download over two ways, loses nothing when one dies, and takes it back', {
  timeout: LIMIT_MS,
}, async () => {
  const { proxies, secret } = await twoWays();
  const [first, second] = proxies;
  const { port, process } = await startClient(secret, { args: ['--bond'] });
  await until(() => first.open > 0 && second.open > 0);
  const before = [first.bytes.down, second.bytes.down] as const;
  await expectUndisturbed(port, 8 * MIB, () => {
    expect(first.bytes.down - before[0]).toBeGreaterThan(MIB / 4);
    expect(second.bytes.down - before[1]).toBeGreaterThan(MIB / 4);
    first.hold('reset');
  });
  const { connections } = first;
  await until(() => first.connections > connections, 20_000);
  first.release();
  // It is tried again after seconds; a download then goes by both again.
  let taken = 0;
  while (taken < MIB / 4) {
    const { down } = first.bytes;
    await expectUndisturbed(port, MIB, () => {});
    taken = first.bytes.down - down;
  }
  expect(process.events.map(({ event }) => event)).toEqual(['ready']);
});

it('a client without --bond uses one of two ways', { timeout: LIMIT_MS }, async () => {
  const { proxies, secret } = await twoWays();
  const { port } = await startClient(secret, { args: ['--links', '1'] });
  await expectUndisturbed(port, MIB, () => {});
  // The second may have been dialled, if the first took longer than a quarter of a second.
  expect(proxies.map(({ bytes }) => bytes.down > MIB / 8)).toEqual([true, false]);
});

it('a client with --bond and --tether uses the direct connection and a phone, and loses nothing when the phone stops', {
  timeout: LIMIT_MS,
}, async () => {
  const relay = await startRelay();
  const secret = await invite(relay, 'laptop', { allow: ['*'] });
  const client = spawnClient(secret, { args: ['--tether', '127.0.0.1:0', '--bond'] });
  const code = await nextCode(client);
  const port = await proxyPort(client);
  const page = await CarryingPage.join(code);
  await until(() => page.links.some(({ local }) => local?.readyState === 1));
  await expectUndisturbed(port, 32 * MIB, () => page.freeze());
  expect(client.events.map(({ event }) => event)).not.toContain('lost');
});

it('--bond with --links 1 is rejected with what to do', async () => {
  const relay = await startRelay();
  const client = spawnClient(await invite(relay, 'alice'), { args: ['--bond', '--links', '1'] });
  await client.exited;
  expect(client.stderr).toContain('WSTUN-E101');
});
