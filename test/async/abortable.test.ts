import { describe, expect, it, vi } from 'vitest';
import { AbortableWait, Deadline, settledWithin, sleep, withLimit } from '../../src/async/abortable.ts';
import { WstunError } from '../../src/errors.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

/** A signal, and how many listeners it has. */
function countedSignal() {
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
  signal.addEventListener = (...given: Parameters<typeof add>) => [listeners++, add(...given)];
  signal.removeEventListener = (...given: Parameters<typeof remove>) => [listeners--, remove(...given)];
  return { controller, signal, listeners: () => listeners };
}

describe('AbortableWait', () => {
  it('AbortableWait settles with the first outcome, and leaves neither timer nor listener', async () => {
    for (const settle of [
      (wait: AbortableWait<string>) => wait.resolve('value'),
      (wait: AbortableWait<string>) => wait.reject(new WstunError('dial-refused')),
    ]) {
      const clock = new VirtualClock();
      const { signal, listeners } = countedSignal();
      const onSettled = vi.fn();
      const wait = new AbortableWait<string>({ clock, signal, limitMs: 10, onSettled });
      expect([clock.timers, listeners(), wait.isOver]).toEqual([1, 1, false]);
      settle(wait);
      wait.resolve('late');
      wait.reject(new Error('late'));
      expect([clock.timers, listeners(), wait.isOver]).toEqual([0, 0, true]);
      expect(onSettled).toHaveBeenCalledTimes(1);
      const outcome = await wait.promise.catch((error: WstunError) => error.fault);
      expect(outcome).toBe(settle.toString().includes('resolve') ? 'value' : 'dial-refused');
    }
  });

  it('AbortableWait calls onExpired when its limit expires, which may set another limit', async () => {
    const clock = new VirtualClock();
    let expired = 0;
    const wait = new AbortableWait<string>({
      clock,
      limitMs: 100,
      onExpired: (it) => (++expired < 3 ? it.setLimit(50) : it.resolve('third')),
    });
    await clock.advance(99);
    expect(expired).toBe(0);
    await clock.advance(1);
    expect(expired).toBe(1);
    await clock.advance(100);
    expect(await wait.promise).toBe('third');
    expect(clock.timers).toBe(0);
    wait.setLimit(1);
    expect(clock.timers).toBe(0);
  });

  it('AbortableWait rejects with dial-cancelled when its signal fires, also if that was before', async () => {
    const clock = new VirtualClock();
    const { controller, signal, listeners } = countedSignal();
    const wait = new AbortableWait({ clock, signal, limitMs: 10 });
    controller.abort();
    await expect(wait.promise).rejects.toMatchObject({ fault: 'dial-cancelled' });
    await expect(new AbortableWait({ clock, signal, limitMs: 10 }).promise).rejects.toMatchObject({
      fault: 'dial-cancelled',
    });
    expect([clock.timers, listeners()]).toEqual([0, 0]);
  });

  it('AbortableWait leaves it to onAbort what an abort means', async () => {
    const controller = new AbortController();
    const wait = new AbortableWait<string>({
      clock: new VirtualClock(),
      signal: controller.signal,
      onAbort: (it) => it.resolve('aborted'),
    });
    controller.abort();
    expect(await wait.promise).toBe('aborted');
  });
});

describe('Deadline', () => {
  it('Deadline calls nothing after its end', async () => {
    const clock = new VirtualClock();
    const controller = new AbortController();
    const events = { onExpired: vi.fn(), onAbort: vi.fn() };
    const deadline = new Deadline({ clock, signal: controller.signal, limitMs: 5 }, events);
    deadline.end();
    controller.abort();
    await clock.advance(10);
    expect([events.onExpired.mock.calls.length, events.onAbort.mock.calls.length]).toEqual([0, 0]);
  });
});

describe('sleep', () => {
  it('sleep ends after its time, with its signal, or at once where that has fired', async () => {
    const clock = new VirtualClock();
    const { controller, signal, listeners } = countedSignal();
    const ended: string[] = [];
    const note = (name: string) => () => void ended.push(name);
    void sleep(clock, 100).then(note('time'));
    void sleep(clock, 1_000, signal).then(note('signal'));
    await clock.advance(99);
    expect(ended).toEqual([]);
    await clock.advance(1);
    controller.abort();
    await clock.advance(0);
    void sleep(clock, 1_000, signal).then(note('before'));
    await clock.advance(0);
    expect(ended).toEqual(['time', 'signal', 'before']);
    expect([clock.timers, listeners()]).toEqual([0, 0]);
  });
});

describe('settledWithin', () => {
  it('settledWithin resolves with the promise or after the time, whichever is first, and rejects as the promise does', async () => {
    const clock = new VirtualClock();
    await settledWithin(clock, 100, Promise.resolve());
    await expect(settledWithin(clock, 100, Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    let isOver = false;
    void settledWithin(clock, 100, new Promise(() => {})).then(() => {
      isOver = true;
    });
    await clock.advance(99);
    expect(isOver).toBe(false);
    await clock.advance(1);
    expect(isOver).toBe(true);
    expect(clock.timers).toBe(0);
  });
});

describe('withLimit', () => {
  /** Rejects with the reason of its signal. */
  const untilAborted = (signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason));
    });

  it('withLimit aborts with the given error when the limit expires', async () => {
    const clock = new VirtualClock();
    const acted = withLimit({ clock, limitMs: 50 }, () => new WstunError('relay-unreachable'), untilAborted);
    const rejected = expect(acted).rejects.toMatchObject({ fault: 'relay-unreachable' });
    await clock.advance(50);
    await rejected;
  });

  it('withLimit aborts with the reason of the outer signal, also if that has fired before', async () => {
    const clock = new VirtualClock();
    const { controller, signal, listeners } = countedSignal();
    const options = { clock, signal, limitMs: 50 };
    const unused = (): Error => new Error('not the limit');
    const acted = withLimit(options, unused, untilAborted);
    controller.abort(new Error('outer'));
    await expect(acted).rejects.toThrow('outer');
    await expect(withLimit(options, unused, untilAborted)).rejects.toThrow('outer');
    expect([clock.timers, listeners()]).toEqual([0, 0]);
  });

  it('withLimit returns what the action returns, and leaves no timer', async () => {
    const clock = new VirtualClock();
    expect(
      await withLimit(
        { clock, limitMs: 50 },
        () => new Error(),
        async () => 7,
      ),
    ).toBe(7);
    expect(clock.timers).toBe(0);
  });
});
