import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { type NetworkSources, watchNetwork } from '../../../src/tunnel/reconnect/network-watch.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

/** The calendar's clock goes on while the machine sleeps. */
class SleepingClock extends VirtualClock {
  asleepMs = 0;

  override wallTime(): number {
    return super.wallTime() + this.asleepMs;
  }
}

/** A machine that the test changes. */
function machine() {
  const state = {
    addresses: 'eth0 10.0.0.7' as string | undefined,
    routes: 'eth0 A 0' as string | undefined,
  };
  const sources: NetworkSources = {
    addresses: () => state.addresses,
    routes: () => {
      if (state.routes === undefined) throw new Error('hidden');
      return state.routes;
    },
  };
  const onChange = vi.fn();
  const clock = new SleepingClock();
  const watch = watchNetwork({ onChange, intervalMs: 1_000, sources, clock });
  return { state, clock, watch, told: () => onChange.mock.calls.map(([change]) => change) };
}

describe('watchNetwork', () => {
  it('watchNetwork reports each change once, within one interval', async () => {
    const { state, clock, told, watch } = machine();
    await clock.advance(10_000);
    expect(told()).toEqual([]);
    state.addresses = 'wlan0 10.1.1.1';
    await clock.advance(1_000);
    state.routes = 'wlan0 B 600';
    await clock.advance(1_000);
    clock.asleepMs = 3_600_000;
    await clock.advance(10_000);
    expect(told()).toEqual(['addresses', 'route', 'slept']);
    watch.stop();
  });

  it('watchNetwork compares with the last list after a time in which nothing could be listed', async () => {
    const { state, clock, told, watch } = machine();
    Object.assign(state, { addresses: undefined, routes: undefined });
    await clock.advance(3_000);
    Object.assign(state, { addresses: 'eth0 10.0.0.7', routes: 'eth0 B 0' });
    await clock.advance(3_000);
    expect(told()).toEqual(['route']);
    watch.stop();
  });

  it('watchNetwork reports nothing after it was stopped, and leaves no timer', async () => {
    const { state, clock, told, watch } = machine();
    watch.stop();
    state.addresses = '';
    await clock.advance(10_000);
    expect([told(), clock.timers]).toEqual([[], 0]);
  });

  it('watchNetwork checks this machine cheaply, without a fault, and finds it unchanged', async () => {
    const onChange = vi.fn();
    const used = process.cpuUsage();
    const watch = watchNetwork({ onChange, intervalMs: 5 });
    await delay(500);
    watch.stop();
    const { user, system } = process.cpuUsage(used);
    expect(onChange).not.toHaveBeenCalled();
    // A hundred looks.
    expect((user + system) / 1000).toBeLessThan(250);
  });
});
