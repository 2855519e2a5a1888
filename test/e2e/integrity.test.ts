/**
 * Every byte arrives as it was sent, while memory that is given back is poisoned in client, relay and exit. Connections
 * of random lengths both ways are cut into random writes, read with random pauses, and some are reset. Their links are
 * aborted at random places, on each path that bytes can take. Ten gigabytes: WSTUN_LONG=1 npx vitest run
 * integrity.test.ts
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type ChaosProxy, startChaosProxy } from '../support/net/chaos-proxy.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { chunks } from '../support/payload.ts';
import { type Prng, prng } from '../support/prng.ts';
import { invite, type RunningClient, startClient, startExit, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';

const SEED = 13;
const IS_LONG = process.env.WSTUN_LONG !== undefined;
/** Of both directions together, for each way. */
const BYTES = IS_LONG ? 3_400_000_000 : 60_000_000;
/**
 * So much at most on one link, in either direction: many links in a row that end at once would make the client wait
 * between them.
 */
const LARGEST_LINK_BYTES = IS_LONG ? 200_000_000 : 25_000_000;
const AT_A_TIME = 12;
const LARGEST_BYTES = 4_000_000;

/** What one end sends; the other expects the same. */
interface Load {
  readonly bytes: number;
  readonly seed: number;
}

/** In writes of random sizes, not waiting for room now and then. */
async function sendRandomly(to: Socket, { bytes, seed }: Load, random: Prng): Promise<void> {
  for (const chunk of chunks(bytes, seed)) {
    for (let at = 0; at < chunk.length && !to.destroyed; ) {
      const length = random.pick([1, 100, 3_000, 5_000, 49_152, 65_536, chunk.length]);
      const hasRoom = to.write(chunk.subarray(at, at + length));
      at += length;
      if (!hasRoom && random.chance(0.9)) await drained(to);
    }
  }
  to.end();
}

function drained(to: Socket): Promise<unknown> {
  return to.destroyed ? Promise.resolve() : Promise.race([once(to, 'drain'), once(to, 'close')]);
}

/** With pauses. The hash of what came; undefined where the connection was reset. */
async function receiveRandomly(from: Socket, random: Prng): Promise<string | undefined> {
  const hash = createHash('sha256');
  from.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    if (!random.chance(0.02)) return;
    from.pause();
    void pauseTurns(random.below(40)).then(() => from.resume());
  });
  from.resume();
  return await new Promise((resolve) => {
    from.once('end', () => resolve(hash.digest('hex')));
    from.once('close', () => resolve(undefined));
  });
}

async function pauseTurns(turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await turn();
}

function hashOf({ bytes, seed }: Load): string {
  const hash = createHash('sha256');
  for (const chunk of chunks(bytes, seed)) hash.update(chunk);
  return hash.digest('hex');
}

/** Two connections in a hundred are reset before their end. */
class Traffic {
  private left = BYTES;
  private count = 0;
  private readonly random: Prng;
  private readonly answers = new Map<number, Load>();
  private readonly served: Promise<void>[] = [];

  constructor(random: Prng) {
    this.random = random;
  }

  /** The target is told in a head which connection it serves, and sends what belongs to that. */
  async run(client: RunningClient): Promise<void> {
    const target = await tcpServer((socket) => void this.served.push(this.serve(socket)));
    const lanes = Array.from({ length: AT_A_TIME }, async () => {
      while (this.left > 0) await this.connect(client, target);
    });
    await Promise.all(lanes);
    await Promise.all(this.served);
  }

  private load(): Load {
    const bytes = this.random.chance(0.3) ? this.random.below(20_000) : this.random.below(LARGEST_BYTES);
    this.left -= bytes;
    return { bytes, seed: this.random.below(1_000_000) };
  }

  private async connect(client: RunningClient, target: number): Promise<void> {
    const number = this.count++;
    const [up, down] = [this.load(), this.load()];
    const isReset = this.random.chance(0.02);
    this.answers.set(number, down);
    const socket = await connectThrough(this.random.pick(['SOCKS5', 'CONNECT']), client.port, target);
    const head = Buffer.alloc(13);
    head.writeUInt32BE(number);
    head.writeUInt32BE(up.bytes, 4);
    head.writeUInt32BE(up.seed, 8);
    head[12] = isReset ? 1 : 0;
    socket.write(head);
    const received = receiveRandomly(socket, this.random);
    if (isReset) {
      await pauseTurns(this.random.below(50));
      socket.resetAndDestroy();
      return;
    }
    await sendRandomly(socket, up, this.random);
    expect(await received, `what connection ${number} received`).toBe(hashOf(down));
  }

  private async serve(socket: Socket): Promise<void> {
    socket.on('error', () => {});
    const head = await take(socket, 13).catch(() => undefined);
    // Reset before its head had come.
    if (head === undefined) return;
    const down = this.answers.get(head.readUInt32BE(0));
    if (down === undefined) throw new Error('a connection that nobody opened');
    const received = receiveRandomly(socket, this.random);
    const sent = sendRandomly(socket, down, this.random);
    const hash = await received;
    await sent;
    if (head[12] === 1) return void socket.destroy();
    expect(hash, `what the target received on connection ${head.readUInt32BE(0)}`).toBe(
      hashOf({ bytes: head.readUInt32BE(4), seed: head.readUInt32BE(8) }),
    );
  }
}

/** A path to the relay on which each connection is aborted after a random number of bytes. */
async function cuttingProxy(port: number, seed: number): Promise<ChaosProxy> {
  const random = prng(seed);
  const proxy = await startChaosProxy({ target: { host: '127.0.0.1', port }, seed });
  const cut = (): void => proxy.cutAfter(random.below(LARGEST_LINK_BYTES), random.pick(['up', 'down']));
  let seen = 0;
  cut();
  const timer = setInterval(() => {
    if (proxy.connections !== seen) cut();
    seen = proxy.connections;
  }, 20);
  atEnd(() => clearInterval(timer));
  return proxy;
}

describe(`every byte arrives as it was sent, though links are aborted (seed ${SEED})`, {
  timeout: IS_LONG ? 900_000 : 120_000,
}, () => {
  it.each([
    ['at full speed', {}],
    ['at a limited rate', { rate: IS_LONG ? '2gbit' : '400mbit' }],
  ])('every byte arrives at a relay’s own exit and back %s, though links are aborted', async (_, limits) => {
    const relay = await startRelay();
    const proxy = await cuttingProxy(relay.port, SEED);
    const url = `ws://127.0.0.1:${proxy.port}`;
    const client = await startClient(await invite(relay, 'tester', { allow: ['*'], url, ...limits }));
    await new Traffic(prng(SEED)).run(client);
    expect(client.process.events.filter(({ event }) => event === 'session-lost')).toEqual([]);
    expect(proxy.cuts).toBeGreaterThan(0);
  });

  it('every byte arrives at a named exit and back through a relay that only forwards, though links are aborted', async () => {
    const relay = await startRelay({ args: ['--no-exit'] });
    const [near, far] = [await cuttingProxy(relay.port, SEED), await cuttingProxy(relay.port, SEED + 1)];
    const registration = await invite(relay, 'home', { role: 'exit', url: `ws://127.0.0.1:${far.port}` });
    const exit = await startExit({ invite: registration });
    const client = await startClient(
      await invite(exit, 'tester', { allow: ['*'], url: `ws://127.0.0.1:${near.port}` }),
    );
    await new Traffic(prng(SEED)).run(client);
    expect(client.process.events.filter(({ event }) => event === 'session-lost')).toEqual([]);
    expect(near.cuts + far.cuts).toBeGreaterThan(0);
  });
});
