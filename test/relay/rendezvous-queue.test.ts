import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RendezvousQueue } from '../../src/relay/rendezvous-queue.ts';

const LIMITS = { requested: 128, waiting: 2_048 };

/** Calls for whoever has a turn. */
function callAll(line: RendezvousQueue<string>, now: number): string[] {
  const called: string[] = [];
  for (let client = line.next(now); client !== undefined; client = line.next(now)) called.push(client);
  return called;
}

const peerOf = (client: string): string => client.replace(/#.*/, '');

describe('the line before an exit', () => {
  it('leads a thousand peers to it, so many at once as it answers', () => {
    const line = new RendezvousQueue<string>(LIMITS);
    for (let i = 0; i < 1_000; i++) expect(line.join(`${i}`, `${i}#0`, 0)).toBe(true);
    const led: string[] = [];
    for (let now = 0; led.length < 1_000; now += 100) {
      const called = callAll(line, now);
      expect(called.length).toBeLessThanOrEqual(128);
      led.push(...called);
      for (const client of called) line.answered(peerOf(client));
    }
    expect(led).toEqual(Array.from({ length: 1_000 }, (_, i) => `${i}#0`));
    expect(line.isIdle).toBe(true);
  });

  it('leads a thousand clients of one peer to it within half a minute, if they come again when they are turned away', () => {
    const line = new RendezvousQueue<string>(LIMITS);
    let todo = Array.from({ length: 1_000 }, (_, i) => `one#${i}`);
    let led = 0;
    let now = 0;
    for (; led < 1_000; now += 100) {
      todo = todo.filter((client) => !line.join('one', client, now));
      const called = callAll(line, now);
      led += called.length;
      for (const client of called) line.answered(peerOf(client));
    }
    expect(now).toBeLessThan(30_000);
  });

  it('gives a peer with many calls half of the places, and the next one its turn at once', () => {
    const line = new RendezvousQueue<string>(LIMITS);
    for (let i = 0; i < 1_000; i++) line.join('many', `many#${i}`, 0);
    const first = callAll(line, 0);
    expect(first).toHaveLength(64);
    line.join('one', 'one#0', 0);
    expect(callAll(line, 0)).toEqual(['one#0']);
  });

  it('goes round the peers: one with many calls delays another by one place at most', () => {
    const line = new RendezvousQueue<string>({ requested: 1, waiting: 2_048 });
    for (let i = 0; i < 200; i++) line.join('many', `many#${i}`, 0);
    line.join('few', 'few#0', 0);
    line.join('few', 'few#1', 0);
    const order: string[] = [];
    for (let i = 0; i < 5; i++) {
      const client = line.next(0) ?? '';
      order.push(client);
      line.answered(peerOf(client));
    }
    expect(order).toEqual(['many#0', 'few#0', 'many#1', 'few#1', 'many#2']);
  });

  it('lets a peer through at its rate, and says when the next turn is', () => {
    const line = new RendezvousQueue<string>(LIMITS);
    let called = 0;
    let joined = 0;
    for (let now = 0; now < 60_000; now += 50) {
      while (line.join('one', `one#${joined}`, now)) joined += 1;
      for (let clients = callAll(line, now); clients.length > 0; clients = callAll(line, now)) {
        called += clients.length;
        for (const client of clients) line.answered(peerOf(client));
      }
      line.join('one', `one#${joined++}`, now);
      expect(line.waitMs(now)).toBeGreaterThan(0);
      expect(line.waitMs(now)).toBeLessThanOrEqual(34);
    }
    expect(called).toBeGreaterThan(60 * 30);
    expect(called).toBeLessThanOrEqual(60 * 30 + 256);
  });

  it('has room for the next peer, however many calls ten others have', () => {
    const line = new RendezvousQueue<string>(LIMITS);
    for (let peer = 0; peer < 10; peer++) for (let i = 0; i < 1_000; i++) line.join(`${peer}`, `${peer}#${i}`, 0);
    expect(line.join('next', 'next#0', 0)).toBe(true);
  });

  it('never calls more than it may, counts its places, and leaves nobody behind', () => {
    const step = fc.record({
      kind: fc.constantFrom('join', 'leave', 'call', 'answer'),
      peer: fc.integer({ min: 0, max: 3 }),
      wait: fc.integer({ min: 0, max: 500 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const line = new RendezvousQueue<string>({ requested: 5, waiting: 20 });
        const waiting: string[] = [];
        const called: string[] = [];
        let now = 0;
        let made = 0;
        for (const { kind, peer, wait } of steps) {
          now += wait;
          if (kind === 'join') {
            const client = `${peer}#${made++}`;
            if (line.join(`${peer}`, client, now)) waiting.push(client);
          } else if (kind === 'leave') {
            const client = waiting.shift();
            if (client !== undefined) line.leave(peerOf(client), client);
          } else if (kind === 'call') {
            for (const client of callAll(line, now)) {
              expect(waiting).toContain(client);
              waiting.splice(waiting.indexOf(client), 1);
              called.push(client);
            }
          } else {
            const client = called.shift();
            if (client !== undefined) line.answered(peerOf(client));
          }
          expect(called.length).toBeLessThanOrEqual(5);
          expect(line.waiting).toBe(waiting.length);
        }
        // With time and answers, whoever waits is called for.
        for (let i = 0; i < 100; i++) {
          for (const client of called.splice(0)) line.answered(peerOf(client));
          now += 1_000;
          for (const client of callAll(line, now)) {
            waiting.splice(waiting.indexOf(client), 1);
            called.push(client);
          }
        }
        for (const client of called) line.answered(peerOf(client));
        expect([waiting, line.isIdle]).toEqual([[], true]);
      }),
      { numRuns: 200, seed: 12 },
    );
  });
});
