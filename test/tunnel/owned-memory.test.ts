/**
 * Memory that bulk passes through goes back, whatever lies between: all that had an owner in this process, at client,
 * relay and exit, is counted. What is released is poisoned at once, so bytes that are right at the end were never
 * released too early.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { Ledger } from '../support/memory/ledger.ts';
import { Client, echo, tcpServer } from '../support/net/tcp.ts';
import { payload, receive, sha256 } from '../support/payload.ts';
import { type Prng, prng } from '../support/prng.ts';
import { connectThrough, socks5Request } from '../support/proxy/through-proxy.ts';
import { startWholeTunnel, type WholeTunnelOptions } from '../support/proxy/whole-tunnel.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const STREAMS = 6;

/** In writes of any size, so that records hold frames of several streams, and frames cross records. */
async function sendInPieces(to: Socket, bytes: Buffer, random: Prng): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const size = random.chance(0.5) ? 1 + random.below(3_000) : 1 + random.below(90_000);
    const hasRoom = to.write(bytes.subarray(at, at + size));
    at += size;
    if (!hasRoom) await once(to, 'drain');
    else if (random.chance(0.3)) await new Promise(setImmediate);
  }
  to.end();
}

/** Sends so much on each of several streams at once to a target that sends it back; all must come back as it was. */
async function echoThrough(port: number, bytesEach: number, seed: number): Promise<void> {
  const target = await tcpServer(echo);
  const random = prng(seed);
  const one = async (_: unknown, i: number): Promise<void> => {
    const socket = await connectThrough('SOCKS5', port, target);
    const bytes = payload(bytesEach, seed + i);
    const [received] = await Promise.all([receive(socket), sendInPieces(socket, bytes, random)]);
    expect(received, `seed ${seed}, stream ${i}`).toEqual({ bytes: bytesEach, hash: sha256(bytes) });
  };
  await Promise.all(Array.from({ length: STREAMS }, one));
}

const BYTES = MIB;

/** What stood in their queues, as a share of all. */
const QUEUES_OF_CUT_LINKS = 0.05;

describe('memory that bulk passes through is given back', { timeout: 180_000 }, () => {
  // How often each byte has an owner on its way to and fro: at the ends' sockets, sealed, at an accepted WebSocket,
  // opened or copied.
  it.each<[string, number, WholeTunnelOptions]>([
    ['with an exit at the relay', 7, {}],
    ['without encryption', 4, { encryption: 'off' }],
    ['through a splice', 8, { between: 'splice' }],
    ['through a splice, without encryption', 6, { between: 'splice', encryption: 'off' }],
    ['through a page', 8, { between: 'page' }],
    ['through a page, without encryption', 4, { between: 'page', encryption: 'off' }],
    ['by an exit that limits the rate', 7, { rateOf: () => 50e6 }],
  ])('memory is given back %s', async (_, times, options) => {
    const ledger = Ledger.open();
    const { port } = await startWholeTunnel(options);
    await echoThrough(port, BYTES, 11);
    await ledger.settles(times * STREAMS * BYTES);
  });

  it('memory is given back by an exit that counts bytes, up to the quota that ends all streams', async () => {
    const ledger = Ledger.open();
    let counted = 0;
    const quotas = {
      isUsedUp: () => counted > 3 * STREAMS * BYTES,
      count(_: string, bytes: number) {
        counted += bytes;
      },
    };
    const { port } = await startWholeTunnel({ quotas });
    await echoThrough(port, BYTES, 12);
    expect(counted).toBe(2 * STREAMS * BYTES);
    await expect(echoThrough(port, BYTES, 13)).rejects.toThrow();
    await ledger.settles(10 * STREAMS * BYTES);
  });

  it.each([{ encryption: 'on' }, { encryption: 'off' }] as const)(
    'memory is given back when links are aborted and their records are retransmitted: %o',
    async (options) => {
      const ledger = Ledger.open();
      const { port, chaos } = await startWholeTunnel(options);
      const echoed = echoThrough(port, 4 * BYTES, 14);
      for (let cuts = 1; cuts <= 3; cuts++) {
        await until(() => chaos.bytes.up + chaos.bytes.down > 2 * cuts * STREAMS * BYTES, 20_000);
        chaos.resetAll();
      }
      await echoed;
      expect(chaos.connections).toBe(4);
      await ledger.settles(4 * STREAMS * 4 * BYTES, QUEUES_OF_CUT_LINKS);
    },
  );

  it.each<[string, (target: number) => Buffer, string]>([
    ['SOCKS5', (target) => Buffer.concat([Buffer.from([5, 1, 0]), socks5Request('127.0.0.1', target)]), '\x05\x00'],
    ['SOCKS4', (target) => Buffer.from([4, 1, target >> 8, target & 255, 127, 0, 0, 1, 0]), '\x00\x5a'],
    ['CONNECT', (target) => Buffer.from(`CONNECT 127.0.0.1:${target} HTTP/1.1\r\nHost: a\r\n\r\n`), 'HTTP/1.1 200'],
  ])('memory is given back of data that a program sends along with its %s request', async (_, request, granted) => {
    const ledger = Ledger.open();
    const { port } = await startWholeTunnel();
    const target = await tcpServer(echo);
    const sent = payload(300_000, 5);
    for (const early of [1, 5_000, 60_000, 250_000]) {
      const client = new Client(port);
      client.send(Buffer.concat([request(target), sent.subarray(0, early)]));
      await client.takeUntil(granted);
      client.send(sent.subarray(early)).socket.end();
      await until(() => client.events.length > 0);
      expect(client.received.subarray(-sent.length).equals(sent)).toBe(true);
    }
    await ledger.settles(4 * 6 * sent.length);
  });
});
