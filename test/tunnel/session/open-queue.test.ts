import { beforeEach, describe, expect, it } from 'vitest';
import type { Opened } from '../../../src/mux/events.ts';
import { formatIp } from '../../../src/net/ip.ts';
import { OpenQueue } from '../../../src/tunnel/session/open-queue.ts';
import type { Target } from '../../../src/tunnel/stream/stream.ts';
import { never } from '../../support/never.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const to = (host: string, port = 80): Target => ({ kind: 'name', name: host, port });

describe('OpenQueue', () => {
  let places = 0;
  const opened: string[] = [];
  let line: OpenQueue;
  let clock = new VirtualClock();
  const tryOpen = (target: Target): Opened => {
    if (places === 0) return { heldUntil: clock.now() + 5 };
    places -= 1;
    opened.push(target.kind === 'name' ? target.name : formatIp(target.ip));
    return { stream: opened.length };
  };

  beforeEach(() => {
    clock = new VirtualClock();
    [places, opened.length] = [0, 0];
    line = new OpenQueue(tryOpen, clock);
  });

  async function grant(count: number): Promise<void> {
    places = count;
    await clock.advance(10);
  }

  it('OpenQueue opens a stream at once while that is possible', () => {
    places = 1;
    expect(line.open(to('a'), never)).toBe(1);
  });

  it('OpenQueue opens streams that have to wait in their order', async () => {
    const ids = ['a', 'b', 'c'].map((host) => line.open(to(host), never));
    await grant(2);
    expect(opened).toEqual(['a', 'b']);
    await grant(1);
    expect(await Promise.all(ids)).toEqual([1, 2, 3]);
  });

  it('OpenQueue opens streams to targets that answered lately first, and to hosts that were given up last', async () => {
    line.noteAnswered(to('live'));
    line.noteGivenUp(to('silent', 1));
    const ids = [to('silent', 2), to('new'), to('live')].map((target) => line.open(target, never));
    await grant(3);
    expect(opened).toEqual(['live', 'new', 'silent']);
    expect(await Promise.all(ids)).toEqual([3, 2, 1]);
  });

  it('OpenQueue forgets a stream whose program gives it up, and opens the next one in its place', async () => {
    const gone = new AbortController();
    const waiting = line.open(to('a'), gone.signal);
    const next = line.open(to('b'), never);
    gone.abort();
    await expect(waiting).rejects.toMatchObject({ fault: 'dial-cancelled' });
    await grant(1);
    expect(await next).toBe(1);
    expect(opened).toEqual(['b']);
  });

  it('OpenQueue holds a stream for 10 s at most, 2,048 streams at once, and none longer than the session', async () => {
    const first = line.open(to('a'), never) as Promise<number>;
    const outcome = first.catch((error: unknown) => error);
    await clock.advance(10_000);
    expect(await outcome).toMatchObject({ fault: 'dial-busy' });
    const all = Array.from({ length: 2048 }, () => line.open(to('a'), never) as Promise<number>);
    expect(() => line.open(to('a'), never)).toThrow();
    line.close(Object.assign(new Error('over'), { fault: 'link-lost' }) as never);
    const ends = await Promise.allSettled(all);
    expect(ends.every(({ status }) => status === 'rejected')).toBe(true);
  });
});
