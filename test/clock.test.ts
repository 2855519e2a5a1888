import { expect, it } from 'vitest';
import { systemClock } from '../src/clock.ts';
import { VirtualClock } from './support/time/virtual-clock.ts';

it('the virtual clock fires timers in the order of their times, whatever the order they were set in', async () => {
  const clock = new VirtualClock();
  const fired: [string, number][] = [];
  for (const [name, ms] of [
    ['late', 30],
    ['early', 10],
    ['middle', 20],
  ] as const) {
    clock.setTimeout((text) => fired.push([text, clock.now()]), ms, name);
  }
  await clock.advance(25);
  expect(fired).toEqual([
    ['early', 10],
    ['middle', 20],
  ]);
  expect(clock.now()).toBe(25);
});

it('the virtual clock fires a timer that another one sets within the time that passes', async () => {
  const clock = new VirtualClock();
  const fired: number[] = [];
  clock.setTimeout(() => clock.setTimeout(() => fired.push(clock.now()), 5), 5);
  await clock.advance(10);
  expect(fired).toEqual([10]);
});

it('the virtual clock lets promises settle between two timers', async () => {
  const clock = new VirtualClock();
  const order: string[] = [];
  clock.setTimeout(() => void Promise.resolve().then(() => order.push('promise of the first')), 1);
  clock.setTimeout(() => order.push('second'), 2);
  await clock.advance(2);
  expect(order).toEqual(['promise of the first', 'second']);
});

it('the virtual clock never fires a cleared timer', async () => {
  const clock = new VirtualClock();
  const timer = clock.setTimeout(() => expect.unreachable(), 1);
  clock.clearTimeout(timer);
  await clock.advance(10);
  expect(clock.timers).toBe(0);
});

it('the virtual clock gives up on a condition that no timer brings about', async () => {
  const clock = new VirtualClock();
  clock.setTimeout(() => {}, 5);
  await expect(clock.advanceUntil(() => false, 10)).rejects.toThrow('not done after 10 ms');
});

it('the system clock fires a timer with its argument, and not a cleared one', async () => {
  const cleared = systemClock.setTimeout(() => expect.unreachable(), 1);
  systemClock.clearTimeout(cleared);
  const before = systemClock.now();
  const argument = await new Promise((resolve) => systemClock.setTimeout(resolve, 5, 'argument'));
  expect(argument).toBe('argument');
  expect(systemClock.now() - before).toBeGreaterThanOrEqual(4);
});

it('the system clock fires a timer that is due already, without a warning of Node', async () => {
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on('warning', note);
  await new Promise<void>((resolve) => systemClock.setTimeout(resolve, -5));
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', note);
  expect(warnings).toEqual([]);
});
