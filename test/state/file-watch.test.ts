import { describe, expect, it, onTestFinished } from 'vitest';
import { FileWatch } from '../../src/state/file-watch.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

/** A watch over files that exist only as a signature. */
function watched(settleMs = 50) {
  const file = { version: 'a' };
  const clock = new VirtualClock();
  const changes: string[] = [];
  const faults: string[] = [];
  const watch = new FileWatch({
    signature: async () => file.version,
    seen: 'a',
    settleMs,
    onChange: async () => {
      changes.push(file.version);
      if (file.version === 'damaged') throw new Error('cannot be read');
    },
    onFault: (error) => faults.push(String(error)),
    clock,
  });
  onTestFinished(() => watch.close());
  return { watch, file, clock, changes, faults };
}

describe('the file watch', () => {
  it('a changed file is read once, within 550 ms of the change', async () => {
    const { file, clock, changes } = watched();
    await clock.advance(10_000);
    expect(changes).toEqual([]);
    file.version = 'b';
    await clock.advance(551);
    expect(changes).toEqual(['b']);
    await clock.advance(10_000);
    expect(changes).toEqual(['b']);
  });

  it('a file that is written in steps is read when it has stood still, or after 20 steps', async () => {
    const { file, clock, changes } = watched();
    await clock.advance(499);
    for (let step = 0; step < 10; step++) {
      file.version = `step ${step}`;
      await clock.advance(40);
    }
    expect(changes).toEqual([]);
    await clock.advance(100);
    expect(changes).toEqual(['step 9']);
    for (let step = 0; changes.length === 1; step++) {
      expect(step).toBeLessThan(60);
      file.version = `growing ${step}`;
      await clock.advance(30);
    }
  });

  it('a file that cannot be read is reported once, and is read again when it changes', async () => {
    const { file, clock, changes, faults } = watched();
    file.version = 'damaged';
    await clock.advance(5_000);
    expect(faults).toEqual(['Error: cannot be read']);
    file.version = 'mended';
    await clock.advance(600);
    expect(changes).toEqual(['damaged', 'mended']);
  });

  it('look() resolves when a change that is there has been taken over', async () => {
    const { watch, file, clock, changes } = watched();
    file.version = 'b';
    const looked = watch.look().then(() => changes.length);
    await clock.advance(51);
    expect(await looked).toBe(1);
  });

  it('close() ends a look that is under way, and no timer is left', async () => {
    const { watch, file, clock, changes } = watched(60_000);
    file.version = 'b';
    await clock.advance(501);
    await watch.close();
    await clock.advance(120_000);
    expect(changes).toEqual([]);
    expect(clock.timers).toBe(0);
  });
});
