import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RendezvousQueue } from '../../src/relay/rendezvous-queue.ts';

const LIMITS = { requested: 128, waiting: 2_048 };

/** Takes all clients that have a turn. */
function callAll(queue: RendezvousQueue<string>, now: number): string[] {
  const called: string[] = [];
  for (let client = queue.next(now); client !== undefined; client = queue.next(now)) called.push(client);
  return called;
}

const peerOf = (client: string): string => client.replace(/#.*/, '');

describe('RendezvousQueue', () => {
  it('the queue sends an exit requests for a thousand peers, as many at once as it answers', () => {
    const queue = new RendezvousQueue<string>(LIMITS);
    for (let i = 0; i < 1_000; i++) expect(queue.join(`${i}`, `${i}#0`, 0)).toBe(true);
    const led: string[] = [];
    for (let now = 0; led.length < 1_000; now += 100) {
      const called = callAll(queue, now);
      expect(called.length).toBeLessThanOrEqual(128);
      led.push(...called);
      for (const client of called) queue.answered(peerOf(client));
    }
    expect(led).toEqual(Array.from({ length: 1_000 }, (_, i) => `${i}#0`));
    expect(queue.isIdle).toBe(true);
  });

  it('the queue serves a thousand clients of one peer within half a minute if rejected ones come again', () => {
    const queue = new RendezvousQueue<string>(LIMITS);
    let todo = Array.from({ length: 1_000 }, (_, i) => `one#${i}`);
    let led = 0;
    let now = 0;
    for (; led < 1_000; now += 100) {
      todo = todo.filter((client) => !queue.join('one', client, now));
      const called = callAll(queue, now);
      led += called.length;
      for (const client of called) queue.answered(peerOf(client));
    }
    expect(now).toBeLessThan(30_000);
  });

  it('the queue gives a peer with many clients half of the slots, and the next peer its turn at once', () => {
    const queue = new RendezvousQueue<string>(LIMITS);
    for (let i = 0; i < 1_000; i++) queue.join('many', `many#${i}`, 0);
    const first = callAll(queue, 0);
    expect(first).toHaveLength(64);
    queue.join('one', 'one#0', 0);
    expect(callAll(queue, 0)).toEqual(['one#0']);
  });

  it('the queue lets peers take turns: one with many clients delays another by one slot at most', () => {
    const queue = new RendezvousQueue<string>({ requested: 1, waiting: 2_048 });
    for (let i = 0; i < 200; i++) queue.join('many', `many#${i}`, 0);
    queue.join('few', 'few#0', 0);
    queue.join('few', 'few#1', 0);
    const order: string[] = [];
    for (let i = 0; i < 5; i++) {
      const client = queue.next(0) ?? '';
      order.push(client);
      queue.answered(peerOf(client));
    }
    expect(order).toEqual(['many#0', 'few#0', 'many#1', 'few#1', 'many#2']);
  });

  it('further links of sessions have their turn after all that are not, of whatever peer', () => {
    const queue = new RendezvousQueue<string>({ requested: 1, waiting: 2_048 });
    queue.join('many', 'many#further', 0, true);
    queue.join('few', 'few#further', 0, true);
    for (let i = 0; i < 2; i++) queue.join('many', `many#${i}`, 0);
    queue.join('few', 'few#0', 0);
    queue.leave('few', 'few#further');
    const order: string[] = [];
    for (let client = queue.next(0); client !== undefined; client = queue.next(0)) {
      order.push(client);
      queue.answered(peerOf(client));
    }
    expect(order).toEqual(['many#0', 'few#0', 'many#1', 'many#further']);
    expect(queue.isIdle).toBe(true);
  });

  it('further links of sessions leave half of the room of their peer to its new sessions', () => {
    const queue = new RendezvousQueue<string>({ requested: 1, waiting: 64 });
    const joined = (isFurther: boolean) => {
      let count = 0;
      while (queue.join('one', `one#${isFurther}${count}`, 0, isFurther)) count += 1;
      return count;
    };
    const further = joined(true);
    expect(further).toBeGreaterThan(10);
    expect(joined(false)).toBeGreaterThan(5);
    expect(joined(true)).toBe(0);
  });

  it('the queue limits the rate of a peer, and returns the time until its next turn', () => {
    const queue = new RendezvousQueue<string>(LIMITS);
    let called = 0;
    let joined = 0;
    for (let now = 0; now < 60_000; now += 50) {
      while (queue.join('one', `one#${joined}`, now)) joined += 1;
      for (let clients = callAll(queue, now); clients.length > 0; clients = callAll(queue, now)) {
        called += clients.length;
        for (const client of clients) queue.answered(peerOf(client));
      }
      queue.join('one', `one#${joined++}`, now);
      expect(queue.waitMs(now)).toBeGreaterThan(0);
      expect(queue.waitMs(now)).toBeLessThanOrEqual(34);
    }
    expect(called).toBeGreaterThan(60 * 30);
    expect(called).toBeLessThanOrEqual(60 * 30 + 256);
  });

  it('the queue has room for the next peer, however many clients ten others have', () => {
    const queue = new RendezvousQueue<string>(LIMITS);
    for (let peer = 0; peer < 10; peer++) for (let i = 0; i < 1_000; i++) queue.join(`${peer}`, `${peer}#${i}`, 0);
    expect(queue.join('next', 'next#0', 0)).toBe(true);
  });

  it('the queue never exceeds its limits, counts its slots, and serves every client in the end', () => {
    const step = fc.record({
      kind: fc.constantFrom('join', 'leave', 'call', 'answer'),
      peer: fc.integer({ min: 0, max: 3 }),
      wait: fc.integer({ min: 0, max: 500 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const queue = new RendezvousQueue<string>({ requested: 5, waiting: 20 });
        const waiting: string[] = [];
        const called: string[] = [];
        let now = 0;
        let made = 0;
        for (const { kind, peer, wait } of steps) {
          now += wait;
          if (kind === 'join') {
            const client = `${peer}#${made++}`;
            if (queue.join(`${peer}`, client, now)) waiting.push(client);
          } else if (kind === 'leave') {
            const client = waiting.shift();
            if (client !== undefined) queue.leave(peerOf(client), client);
          } else if (kind === 'call') {
            for (const client of callAll(queue, now)) {
              expect(waiting).toContain(client);
              waiting.splice(waiting.indexOf(client), 1);
              called.push(client);
            }
          } else {
            const client = called.shift();
            if (client !== undefined) queue.answered(peerOf(client));
          }
          expect(called.length).toBeLessThanOrEqual(5);
          expect(queue.waiting).toBe(waiting.length);
        }
        // With time and answers, every waiting client gets its request.
        for (let i = 0; i < 100; i++) {
          for (const client of called.splice(0)) queue.answered(peerOf(client));
          now += 1_000;
          for (const client of callAll(queue, now)) {
            waiting.splice(waiting.indexOf(client), 1);
            called.push(client);
          }
        }
        for (const client of called) queue.answered(peerOf(client));
        expect([waiting, queue.isIdle]).toEqual([[], true]);
      }),
      { numRuns: 200, seed: 12 },
    );
  });
});
