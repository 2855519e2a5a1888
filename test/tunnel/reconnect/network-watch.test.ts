import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type NetworkSources, watchNetwork } from '../../../src/tunnel/reconnect/network-watch.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A machine that the test changes; its clocks run with the fake timers. */
function machine() {
  const state = {
    asleepMs: 0,
    addresses: 'eth0 10.0.0.7' as string | undefined,
    routes: 'eth0 A 0' as string | undefined,
  };
  const sources: NetworkSources = {
    wallMs: () => Date.now() + state.asleepMs,
    monotonicMs: () => performance.now(),
    addresses: () => state.addresses,
    routes: () => {
      if (state.routes === undefined) throw new Error('hidden');
      return state.routes;
    },
  };
  const onChange = vi.fn();
  const watch = watchNetwork({ onChange, intervalMs: 1_000, sources });
  return { state, onChange, watch, told: () => onChange.mock.calls.map(([change]) => change) };
}

describe('the network watch', () => {
  it('tells of each change once, within one interval', async () => {
    const { state, told, watch } = machine();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(told()).toEqual([]);
    state.addresses = 'wlan0 10.1.1.1';
    await vi.advanceTimersByTimeAsync(1_000);
    state.routes = 'wlan0 B 600';
    await vi.advanceTimersByTimeAsync(1_000);
    state.asleepMs = 3_600_000;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(told()).toEqual(['addresses', 'route', 'slept']);
    watch.stop();
  });

  it('remembers across a time in which nothing could be listed', async () => {
    const { state, told, watch } = machine();
    Object.assign(state, { addresses: undefined, routes: undefined });
    await vi.advanceTimersByTimeAsync(3_000);
    Object.assign(state, { addresses: 'eth0 10.0.0.7', routes: 'eth0 B 0' });
    await vi.advanceTimersByTimeAsync(3_000);
    expect(told()).toEqual(['route']);
    watch.stop();
  });

  it('is silent when it was stopped, and leaves no timer', async () => {
    const { state, told, watch } = machine();
    watch.stop();
    state.addresses = '';
    await vi.advanceTimersByTimeAsync(10_000);
    expect([told(), vi.getTimerCount()]).toEqual([[], 0]);
  });

  it('looks at this machine without a fault, cheaply, and finds it unchanged', async () => {
    vi.useRealTimers();
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
