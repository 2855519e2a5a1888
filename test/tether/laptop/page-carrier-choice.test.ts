/** When a page opens a link by requests in the place of a WebSocket. */
import { describe, expect, it } from 'vitest';
import { type FaultName, WstunError } from '../../../src/errors.ts';
import { PageCarrierChoice } from '../../../src/tether/laptop/page-carrier-choice.ts';
import { SOCKET_BLOCKED_MS, SOCKET_SLOW_MS } from '../../../src/tether/laptop/tether-limits.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { never } from '../../support/never.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

interface Asked {
  readonly by: 'socket' | 'requests';
  readonly signal: AbortSignal;
  open(link: MessageLink): void;
  fail(fault: FaultName): void;
}

function setUp() {
  const clock = new VirtualClock();
  const choice = new PageCarrierChoice(clock);
  const asked: Asked[] = [];
  const ask = (by: Asked['by']) => (signal: AbortSignal) =>
    new Promise<MessageLink>((resolve, reject) => {
      asked.push({ by, signal, open: resolve, fail: (fault) => reject(new WstunError(fault)) });
    });
  const carriers = { bySocket: ask('socket'), byRequests: ask('requests') };
  const dial = () => {
    const outcome = choice.dial(carriers, 'browser-refused', never);
    return outcome.then(
      (link) => link,
      (error: WstunError) => error.fault,
    );
  };
  const names = () => asked.map(({ by }) => by);
  return { clock, choice, asked, dial, names };
}

const link = () => memoryLinkPair()[0];

describe('the carrier of a link by a page', () => {
  it('a WebSocket that opens is used, and no request is made', async () => {
    const { clock, asked, dial, names } = setUp();
    const outcome = dial();
    const opened = link();
    asked[0]?.open(opened);
    expect(await outcome).toBe(opened);
    await clock.advance(SOCKET_SLOW_MS);
    expect(names()).toEqual(['socket']);
  });

  it.each(['browser-refused', 'link-slow'] as const)(
    'a WebSocket that fails with %s is followed by requests',
    async (fault) => {
      const { clock, asked, dial, names } = setUp();
      const outcome = dial();
      asked[0]?.fail(fault);
      await clock.advance(0);
      expect(names()).toEqual(['socket', 'requests']);
      const opened = link();
      asked[1]?.open(opened);
      expect(await outcome).toBe(opened);
    },
  );

  it('a page that is offline is asked for no requests', async () => {
    const { asked, dial, names } = setUp();
    const outcome = dial();
    asked[0]?.fail('browser-offline');
    expect(await outcome).toBe('browser-offline');
    expect(names()).toEqual(['socket']);
  });

  it('where both fail, the fault is that of the WebSocket, whichever failed first', async () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ] as const) {
      const { clock, asked, dial } = setUp();
      const outcome = dial();
      await clock.advance(SOCKET_SLOW_MS);
      for (const i of order) {
        asked[i]?.fail(i === 0 ? 'link-slow' : 'browser-refused');
        await clock.advance(0);
      }
      expect(await outcome).toBe('link-slow');
    }
  });

  it('a slow WebSocket is raced by requests, and the one that loses is given up', async () => {
    const { clock, asked, dial, names } = setUp();
    const outcome = dial();
    await clock.advance(SOCKET_SLOW_MS);
    expect(names()).toEqual(['socket', 'requests']);
    const opened = link();
    asked[1]?.open(opened);
    expect(await outcome).toBe(opened);
    expect(asked[0]?.signal.aborted).toBe(true);
  });

  it('after requests have carried, only they are tried for a while, unless they fail', async () => {
    const { clock, asked, dial, names } = setUp();
    const first = dial();
    asked[0]?.fail('browser-refused');
    await clock.advance(0);
    asked[1]?.open(link());
    await first;
    void dial();
    expect(names()).toEqual(['socket', 'requests', 'requests']);
    await clock.advance(SOCKET_BLOCKED_MS);
    void dial();
    expect(names().at(-1)).toBe('socket');
  });

  it('after requests have failed, a WebSocket is tried again', async () => {
    const { asked, choice, dial, names } = setUp();
    choice.noteSilent(10_000);
    const outcome = dial();
    expect(names()).toEqual(['requests']);
    asked[0]?.fail('browser-refused');
    expect(await outcome).toBe('browser-refused');
    void dial();
    expect(names()).toEqual(['requests', 'socket']);
  });

  it('a WebSocket that ended soon without carrying anything is tried again: it may have lost a race', () => {
    const { choice, dial, names } = setUp();
    choice.noteSilent(100);
    void dial();
    expect(names()).toEqual(['socket']);
  });
});
