/** The proxy that other tests lean on: what it forwards, and what it does not. */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { exchange, payload } from '../payload.ts';
import { dial, endOf, take } from '../proxy/through-proxy.ts';
import { until } from '../until.ts';
import { type ChaosOptions, type ChaosProxy, type Direction, startChaosProxy } from './chaos-proxy.ts';
import { Client, closedPort, echo, tcpServer } from './tcp.ts';

const MIB = 1024 * 1024;
const SEED = 7;

/** A proxy before a server whose sockets the test has. */
async function setUp(options: Partial<ChaosOptions> = {}): Promise<{ chaos: ChaosProxy; atTarget: Client[] }> {
  const atTarget: Client[] = [];
  const port = await tcpServer((socket) => atTarget.push(new Client(socket)));
  const chaos = await startChaosProxy({ target: { host: '127.0.0.1', port }, seed: SEED, ...options });
  return { chaos, atTarget };
}

async function beforeEcho(options: Partial<ChaosOptions> = {}): Promise<ChaosProxy> {
  const port = await tcpServer(echo);
  return startChaosProxy({ target: { host: '127.0.0.1', port }, seed: SEED, ...options });
}

async function connected(chaos: ChaosProxy, atTarget: readonly Client[]): Promise<[Client, Client]> {
  const before = atTarget.length;
  const near = new Client(chaos.port);
  await until(() => atTarget.length > before);
  return [near, atTarget[before]!];
}

/** Many turns, in which anything that was to come over loopback has come. */
async function turns(count = 200): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe('the chaos proxy, left alone', () => {
  it('carries both ways whole, passes half-closes on, and counts', async () => {
    const chaos = await beforeEcho();
    const { sent, received } = await exchange(await dial(chaos.port), 8 * MIB);
    expect(received).toEqual({ bytes: 8 * MIB, hash: sent });
    expect(chaos.bytes).toEqual({ up: 8 * MIB, down: 8 * MIB });
    await until(() => chaos.open === 0);
    expect([chaos.connections, chaos.cuts]).toEqual([1, 0]);
  });

  it('holds a sender back whose receiver does not read, and loses nothing of it', async () => {
    const { chaos, atTarget } = await setUp({ queueBytes: 64 * 1024 });
    const [near, far] = await connected(chaos, atTarget);
    far.socket.pause();
    const bytes = payload(16 * MIB);
    near.socket.end(bytes);
    let before = -1;
    while (chaos.bytes.up !== before) {
      before = chaos.bytes.up;
      await turns();
    }
    expect(near.socket.writableLength).toBeGreaterThan(MIB);
    far.socket.resume();
    await until(() => far.events.includes('end'), 10_000);
    expect(far.received.equals(bytes)).toBe(true);
  });

  it('passes resets on, behind what came before them', async () => {
    const { chaos, atTarget } = await setUp({ delayMs: 20 });
    const [near, far] = await connected(chaos, atTarget);
    near.socket.write('last words');
    await until(() => near.socket.writableLength === 0 && near.socket.bytesWritten === 10);
    far.socket.write('x');
    await near.take(1);
    near.socket.resetAndDestroy();
    expect(await endOf(far.socket)).toBe('reset');
    expect(far.received.toString()).toBe('last words');
  });

  it('resets who connects while its target refuses', async () => {
    const chaos = await startChaosProxy({ target: { host: '127.0.0.1', port: await closedPort() }, seed: SEED });
    expect(await endOf(await dial(chaos.port))).toBe('reset');
    await until(() => chaos.open === 0);
  });
});

describe('a cut', () => {
  it.each<Direction>(['up', 'down'])('%s lets exactly so many bytes through, then resets both sides', async (way) => {
    const { chaos, atTarget } = await setUp();
    const counts = [...Array.from({ length: 40 }, (_, i) => 1 + i), 997, 65_536, 200_001, 262_144];
    for (const count of counts) {
      chaos.cutAfter(count, way);
      const ends = await connected(chaos, atTarget);
      const [from, to] = way === 'up' ? ends : [ends[1], ends[0]];
      const outcome = Promise.all([endOf(from.socket), endOf(to.socket)]);
      from.socket.write(payload(300_000));
      expect([count, await outcome]).toEqual([count, ['reset', 'reset']]);
      expect(to.received.equals(payload(300_000).subarray(0, count))).toBe(true);
    }
    await until(() => chaos.open === 0);
    expect([chaos.cuts, chaos.bytes[way]]).toEqual([counts.length, counts.reduce((sum, count) => sum + count, 0)]);
  });

  it('after no byte at all comes as soon as the target is connected', async () => {
    const { chaos, atTarget } = await setUp();
    chaos.cutAfter(0, 'up');
    const near = new Client(chaos.port).send('hello');
    await until(() => near.events.includes('close') && atTarget[0]?.events.includes('close') === true);
    expect([near.events[0], atTarget[0]?.events[0], chaos.bytes.up]).toEqual(['reset', 'reset', 0]);
  });

  it('is for the next connection alone; those before and after it go on', async () => {
    const chaos = await beforeEcho();
    const before = new Client(chaos.port);
    await until(() => chaos.connections === 1);
    chaos.cutAfter(3, 'down');
    const cut = new Client(chaos.port).send('abcdef');
    expect(await endOf(cut.socket)).toBe('reset');
    expect(cut.received.toString()).toBe('abc');
    const after = new Client(chaos.port);
    for (const client of [before, after]) expect((await client.send('hello').take(5)).toString()).toBe('hello');
  });

  it('comes in whichever direction is first at its count', async () => {
    const { chaos, atTarget } = await setUp();
    chaos.cutAfter(100, 'up');
    chaos.cutAfter(5, 'down');
    const [near, far] = await connected(chaos, atTarget);
    near.send('0123456789');
    await far.take(10);
    far.socket.write('0123456789');
    expect(await Promise.all([endOf(near.socket), endOf(far.socket)])).toEqual(['reset', 'reset']);
    expect([near.received.toString(), chaos.bytes]).toEqual(['01234', { up: 10, down: 5 }]);
  });
});

describe('resetAll', () => {
  it('resets both sides of every connection, also while they are held, and lets new ones in', async () => {
    const { chaos, atTarget } = await setUp();
    const [near, far] = await connected(chaos, atTarget);
    const [quiet, farQuiet] = await connected(chaos, atTarget);
    near.socket.write(payload(MIB));
    chaos.hold();
    const waiting = new Client(chaos.port);
    await until(() => chaos.open === 3);
    chaos.resetAll();
    const all = [near, far, quiet, farQuiet, waiting];
    await until(() => all.every(({ events }) => events.includes('close')));
    for (const { events } of all) expect(events).toEqual(['reset', 'close']);
    chaos.release();
    const [again, farAgain] = await connected(chaos, atTarget);
    again.send('hello');
    expect((await farAgain.take(5)).toString()).toBe('hello');
    expect(chaos.open).toBe(1);
  });
});

describe('holding', () => {
  it('forwards nothing, not even an end; on release all of it comes', async () => {
    const { chaos, atTarget } = await setUp();
    const [near, far] = await connected(chaos, atTarget);
    chaos.hold();
    near.socket.end('from near');
    far.socket.end('from far');
    await turns();
    expect([chaos.bytes, near.events, far.events]).toEqual([{ up: 0, down: 0 }, [], []]);
    chaos.release();
    await until(() => near.events.includes('end') && far.events.includes('end'));
    expect([near.received.toString(), far.received.toString()]).toEqual(['from far', 'from near']);
  });

  it('does not read what comes meanwhile', async () => {
    const { chaos, atTarget } = await setUp();
    const [near, far] = await connected(chaos, atTarget);
    chaos.hold();
    const bytes = payload(16 * MIB);
    near.socket.end(bytes);
    await turns(1_000);
    expect(near.socket.writableLength).toBeGreaterThan(MIB);
    chaos.release();
    await until(() => far.events.includes('end'), 10_000);
    expect(far.received.equals(bytes)).toBe(true);
  });

  it('accepts new connections and holds them, or resets them', async () => {
    const { chaos, atTarget } = await setUp();
    chaos.hold();
    const held = new Client(chaos.port).send('hello');
    await until(() => chaos.open === 1);
    chaos.hold('reset');
    const refused = new Client(chaos.port);
    await until(() => refused.events.length > 0);
    expect(refused.events[0]).toBe('reset');
    await turns();
    expect([atTarget.length, held.events]).toEqual([0, []]);
    chaos.release();
    await until(() => atTarget[0]?.received.length === 5);
    expect(chaos.connections).toBe(2);
  });

  it('shifts delays by as long as it lasted', async () => {
    const chaos = await beforeEcho({ delayMs: 40 });
    const socket = await dial(chaos.port);
    const start = performance.now();
    socket.write('x');
    chaos.hold();
    setTimeout(() => chaos.release(), 100);
    await take(socket, 1);
    expect(performance.now() - start).toBeGreaterThanOrEqual(139);
  });
});

describe('the shape', () => {
  it('delays each way, and pipelines what is on its way', async () => {
    const chaos = await beforeEcho({ delayMs: 50, queueBytes: 16 * MIB });
    const socket = await dial(chaos.port);
    const start = performance.now();
    const { sent, received } = await exchange(socket, 4 * MIB);
    const ms = performance.now() - start;
    expect(received.hash).toBe(sent);
    expect(ms).toBeGreaterThanOrEqual(99);
    // One piece a round trip would take 6 s.
    expect(ms).toBeLessThan(3_000);
  });

  it('limits the rate, to within its bucket, and takes a change at once', async () => {
    const chaos = await beforeEcho({ bytesPerSecond: 1_000_000 });
    const timed = async (bytes: number): Promise<number> => {
      const start = performance.now();
      await exchange(await dial(chaos.port), bytes);
      return performance.now() - start;
    };
    expect(await timed(200_000)).toBeGreaterThanOrEqual(185);
    chaos.shape({ bytesPerSecond: 100_000 });
    expect(await timed(40_000)).toBeGreaterThanOrEqual(385);
    const socket = await dial(chaos.port);
    const slow = exchange(socket, 2 * MIB);
    await once(socket, 'data');
    chaos.shape({ bytesPerSecond: Number.POSITIVE_INFINITY });
    const { sent, received } = await slow;
    expect(received.hash).toBe(sent);
  });

  it('moves even where less than a byte passes in a piece’s time', async () => {
    const chaos = await beforeEcho({ bytesPerSecond: 100 });
    const start = performance.now();
    expect((await new Client(chaos.port).send('0123456789').take(10)).toString()).toBe('0123456789');
    expect(performance.now() - start).toBeGreaterThanOrEqual(90);
  });

  it('slices alike for one seed, otherwise for another, and loses nothing', async () => {
    const piecesOf = async (seed: number): Promise<number> => {
      const { chaos, atTarget } = await setUp({ slice: true, seed });
      const [near, far] = await connected(chaos, atTarget);
      near.socket.end(payload(20_000));
      await until(() => far.events.includes('end'));
      expect(far.received.equals(payload(20_000))).toBe(true);
      return chaos.pieces.up;
    };
    const [one, again, other] = [await piecesOf(1), await piecesOf(1), await piecesOf(2)];
    expect(again).toBe(one);
    expect(other).not.toBe(one);
    expect(one).toBeGreaterThan(20_000 / 64);
    expect(one).toBeLessThan(20_000 / 16);
  });
});

describe('closing', () => {
  it('resets what is open, and lets nobody in any more', async () => {
    const { chaos, atTarget } = await setUp({ delayMs: 1_000 });
    const [near, far] = await connected(chaos, atTarget);
    near.socket.write('never arrives');
    const { port } = chaos;
    await chaos.close();
    await until(() => [near, far].every(({ events }) => events.includes('close')));
    expect([near.events[0], far.events[0], far.received.length, chaos.open]).toEqual(['reset', 'reset', 0, 0]);
    await expect(dial(port)).rejects.toThrow('ECONNREFUSED');
  });
});
