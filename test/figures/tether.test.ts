/**
 * What a phone's page costs: headless Chromium as the phone, real processes for the rest. FIGURES=1 prints what was
 * measured, too.
 */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { startChaosProxy } from '../support/chaos-proxy.ts';
import { LinkRecorder } from '../support/link-recorder.ts';
import { rawLink } from '../support/page-link.ts';
import { sendEndlessly, sendPayload } from '../support/payload.ts';
import { atEnd } from '../support/scope.ts';
import { slowProxy } from '../support/slow-proxy.ts';
import { echo, tcpServer } from '../support/tcp.ts';
import { startTethered } from '../support/tethered.ts';
import { connectThrough, endOf, take } from '../support/through-proxy.ts';
import { invite, startClient } from '../support/wstun-stack.ts';

const MIB = 1024 * 1024;
const LIMIT_MS = 120_000;

describe('the page’s memory', () => {
  it('the page needs little memory with a fast laptop and a relay at 1 Mbit/s', { timeout: LIMIT_MS }, async () => {
    const { port, phone } = await startTethered({
      relayUrl: async (relay) => `ws://127.0.0.1:${await slowProxy(relay.port, 1_000_000)}`,
    });
    const target = await tcpServer((socket) => void socket.resume());
    const growth = await phone.growth();
    const opening = Array.from({ length: 4 }, () => connectThrough('SOCKS5', port, target));
    for (const socket of await Promise.all(opening)) sendEndlessly(socket);
    let peak = 0;
    for (const deadline = performance.now() + 8_000; performance.now() < deadline; ) {
      peak = Math.max(peak, growth());
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    if (process.env.FIGURES) process.stderr.write(`${peak.toFixed(1)} MiB more than at rest\n`);
    expect(peak).toBeLessThan(40);
  });

  it('the page ends a link whose relay sends while the laptop does not read, so that its memory is bounded', {
    timeout: LIMIT_MS,
  }, async () => {
    const { near, far, phone } = await rawLink();
    const at = new LinkRecorder(near);
    near.pause();
    const growth = await phone.growth();
    const message = randomBytes(60_000);
    let peak = 0;
    // Not as fast as it takes: a link that has ended takes everything, for ever.
    const flood = setInterval(() => {
      for (let i = 0; i < 20 && far.link.send([message]); i++);
    }, 5);
    atEnd(() => clearInterval(flood));
    while (far.at.closes.length === 0) {
      peak = Math.max(peak, growth());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(far.at.closes[0]?.clean).toBe(false);
    if (process.env.FIGURES) process.stderr.write(`${peak.toFixed(1)} MiB at most\n`);
    // 8 MiB wait, in the copies that the browser makes of them, and garbage until it collects it.
    expect(peak).toBeLessThan(40);
    near.resume();
    await at.untilClosed();
    expect(at.closes[0]?.clean).toBe(false);
  });
});

/** How long a byte takes there and back, ms, in rising order. */
async function echoTimes(socket: Socket, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const since = performance.now();
    socket.write('x');
    await take(socket, 1);
    times.push(performance.now() - since);
  }
  return times.sort((a, b) => a - b);
}

describe('an upstream connection of 1 Mbit/s, 20 ms each way', () => {
  it.each(['uploads', 'downloads'] as const)(
    'a keystroke through the page is not delayed by four %s',
    { timeout: LIMIT_MS },
    async (bulk) => {
      const { port } = await startTethered({
        relayUrl: async ({ port }) => {
          const far = { bytesPerSecond: 125_000, delayMs: 20, seed: 1, target: { host: '127.0.0.1', port } };
          return `ws://127.0.0.1:${(await startChaosProxy(far)).port}`;
        },
      });
      const target = await tcpServer(echo);
      const ends = await tcpServer((socket) => (bulk === 'uploads' ? void socket.resume() : sendEndlessly(socket)));
      const socket = await connectThrough('SOCKS5', port, target);
      const idle = await echoTimes(socket, 20);
      const opening = Array.from({ length: 4 }, () => connectThrough('SOCKS5', port, ends));
      for (const one of await Promise.all(opening)) {
        if (bulk === 'uploads') sendEndlessly(one);
        else one.resume();
      }
      await echoTimes(socket, 10);
      const beside = await echoTimes(socket, 100);
      const [rest = 0, p50 = 0, p95 = 0] = [idle[10], beside[50], beside[95]];
      const said = JSON.stringify({ bulk, rest, p50, p95, p99: beside[99] });
      if (process.env.FIGURES) process.stderr.write(`${said}\n`);
      // A frame of bulk takes 11 ms of this leg; without pacing the echo waits for seconds.
      expect(p50, said).toBeLessThan(2 * rest);
      expect(p95, said).toBeLessThan(3 * rest);
    },
  );
});

describe('the speed', () => {
  it('the page carries at least a fifth of the direct speed, and an echo takes two milliseconds more at most', {
    timeout: LIMIT_MS,
  }, async () => {
    const { relay, port } = await startTethered();
    const direct = await startClient(await invite(relay, 'direct', { allow: ['*'] }));
    const sink = await tcpServer((socket) => socket.resume().on('end', () => socket.end()));
    const target = await tcpServer(echo);
    const mibPerSecond = async (proxy: number): Promise<number> => {
      const since = performance.now();
      const socket = await connectThrough('SOCKS5', proxy, sink);
      await sendPayload(socket, 64 * MIB);
      await endOf(socket);
      return (64 * 1000) / (performance.now() - since);
    };
    const echoMs = async (proxy: number): Promise<number> => {
      const socket = await connectThrough('SOCKS5', proxy, target);
      const times: number[] = [];
      for (let i = 0; i < 200; i++) {
        const since = performance.now();
        socket.write('x');
        await take(socket, 1);
        times.push(performance.now() - since);
      }
      return times.sort((a, b) => a - b)[100] ?? 0;
    };
    await mibPerSecond(port);
    await mibPerSecond(direct.port);
    const figures = {
      page: { mibPerSecond: await mibPerSecond(port), echoMs: await echoMs(port) },
      direct: { mibPerSecond: await mibPerSecond(direct.port), echoMs: await echoMs(direct.port) },
    };
    const said = JSON.stringify(figures);
    expect(figures.page.echoMs, said).toBeLessThan(figures.direct.echoMs + 2);
    // Browser, laptop and relay share this machine's cores; a phone has its own.
    expect(figures.page.mibPerSecond / figures.direct.mibPerSecond, said).toBeGreaterThan(0.2);
    if (process.env.FIGURES) process.stderr.write(`${said}\n`);
  });
});
