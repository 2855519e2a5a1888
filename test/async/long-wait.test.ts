import { afterEach, describe, expect, it } from 'vitest';
import { onLongWait, toldIfLong } from '../../src/async/long-wait.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

afterEach(() => onLongWait(() => {}));

function begin() {
  const told: string[] = [];
  onLongWait((what) => void told.push(what));
  return { told, clock: new VirtualClock() };
}

describe('a long wait', () => {
  it('a wait is told once after two seconds, and ends as its work does', async () => {
    const { told, clock } = begin();
    const work = new Promise<number>((resolve) => clock.setTimeout(() => resolve(7), 60_000));
    const waited = toldIfLong(() => 'somebody', work, clock);
    await clock.advance(1_999);
    expect(told).toEqual([]);
    await clock.advance(58_001);
    expect(await waited).toBe(7);
    expect(told).toEqual(['somebody']);
    await expect(toldIfLong(() => 'somebody', Promise.reject(new Error('no')), clock)).rejects.toThrow('no');
  });

  it('a wait that is over soon, or of which nothing is known, is not told', async () => {
    const { told, clock } = begin();
    await toldIfLong(() => 'nobody', Promise.resolve(), clock);
    void toldIfLong(() => undefined, new Promise(() => {}), clock);
    await clock.advance(60_000);
    expect(told).toEqual([]);
  });
});
