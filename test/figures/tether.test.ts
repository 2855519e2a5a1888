/**
 * What a phone's page costs: headless Chromium as the phone, real processes for the rest. FIGURES=1 prints what was
 * measured, too.
 */
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { startChaosProxy } from '../support/net/chaos-proxy.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { sendEndlessly, sendPayload } from '../support/payload.ts';
import { invite, startClient } from '../support/programs/wstun-stack.ts';
import { connectThrough, endOf, take } from '../support/proxy/through-proxy.ts';
import { startTethered } from '../support/tether/tethered.ts';

const MIB = 1024 * 1024;
/** The median of echoes without a phone, on a machine with nothing else to do. Where it is more, all takes longer. */
const DIRECT_ECHO_MS = 0.8;
const ROUNDS = 7;
const LIMIT_MS = 120_000;

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

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

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
      for (let i = 0; i < 100; i++) {
        const since = performance.now();
        socket.write('x');
        await take(socket, 1);
        times.push(performance.now() - since);
      }
      socket.destroy();
      return median(times);
    };
    await mibPerSecond(port);
    await mibPerSecond(direct.port);
    // By turns, so that a busy moment of the machine meets both.
    const rounds: { page: number; direct: number }[] = [];
    for (let i = 0; i < ROUNDS; i++) rounds.push({ page: await echoMs(port), direct: await echoMs(direct.port) });
    const echoOf = (way: 'page' | 'direct') => median(rounds.map((round) => round[way]));
    const figures = {
      page: { mibPerSecond: await mibPerSecond(port), echoMs: echoOf('page') },
      direct: { mibPerSecond: await mibPerSecond(direct.port), echoMs: echoOf('direct') },
    };
    const said = JSON.stringify(figures);
    const slowness = Math.max(1, figures.direct.echoMs / DIRECT_ECHO_MS);
    expect(figures.page.echoMs, said).toBeLessThan(figures.direct.echoMs + 2 * slowness);
    // Browser, laptop and relay share this machine's cores; a phone has its own.
    expect(figures.page.mibPerSecond / figures.direct.mibPerSecond, said).toBeGreaterThan(0.2);
    if (process.env.FIGURES) process.stderr.write(`${said}\n`);
  });
});
