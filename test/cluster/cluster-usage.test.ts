import { describe, expect, it } from 'vitest';
import { ClusterUsage, usageIn } from '../../src/cluster/cluster-usage.ts';
import type { StoredUsage } from '../../src/state/usage-file.ts';
import { MemoryHub } from '../support/cluster/memory-bus.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const BUCKET = 'wstun-usage';
const MB = 1_000_000;

/** As the file of a relay's state directory, which outlives its process. */
class OwnCounter implements StoredUsage {
  readonly counts = new Map<string, number>();

  get names(): Iterable<string> {
    return this.counts.keys();
  }

  usedBy(name: string): number {
    return this.counts.get(name) ?? 0;
  }

  add(name: string, bytes: number): void {
    this.counts.set(name, this.usedBy(name) + bytes);
  }

  async close(): Promise<void> {}
}

function world({ quota, relays = 3 }: { readonly quota?: number; readonly relays?: number }) {
  const clock = new VirtualClock({ wallTime: Date.UTC(2026, 0, 15) });
  const hub = new MemoryHub(clock);
  const relay = (id: string, own = new OwnCounter()) => {
    const bus = hub.connect();
    const usage = new ClusterUsage(own, bus.bucket(BUCKET), {
      ...{ relay: id, quotaOf: () => quota, relayCount: () => relays, isAlone: true, clock },
      isConnected: () => bus.isConnected,
    });
    return { bus, own, usage };
  };
  return { clock, hub, relay };
}

describe('usage in a cluster', () => {
  it('what a name uses at one relay counts at all of them within two seconds', async () => {
    const { clock, hub, relay } = world({});
    const [one, two] = [relay('1'), relay('2')];
    one.usage.add('a.b', 5);
    two.usage.add('a.b', 7);
    await clock.advance(2_001);
    expect([one.usage.usedBy('a.b'), two.usage.usedBy('a.b')]).toEqual([12, 12]);
    const late = relay('3');
    await clock.advance(1);
    expect(late.usage.usedBy('a.b')).toBe(12);
    const { month, bytes, lastUsed } = usageIn(hub.bucket(BUCKET), clock.wallTime());
    expect([month, bytes.get('a.b'), lastUsed.get('a.b')]).toEqual(['2026-01', 12, Date.UTC(2026, 0, 15) + 2_000]);
  });

  it('nothing is written for a name that uses nothing', async () => {
    const { clock, hub, relay } = world({});
    const { usage } = relay('1');
    usage.add('alice', 1);
    await clock.advance(60_000);
    const { written } = hub;
    await clock.advance(600_000);
    expect(hub.written).toBe(written);
  });

  it('three relays that a name uses at full speed exceed its quota by 1 % at most, in 10 minutes and in 20 seconds', async () => {
    for (const [seconds, stepMs] of [
      [600, 200],
      [20, 10],
    ] as const) {
      const quota = 3_000 * MB;
      const { clock, relay } = world({ quota });
      const all = ['1', '2', '3'].map((id) => relay(id).usage);
      const steps = (seconds * 1000) / stepMs;
      const perStep = Math.ceil(quota / steps / all.length);
      let used = 0;
      for (let step = 0; step < 1.1 * steps; step++) {
        for (const usage of all) {
          if (usage.usedBy('alice') >= quota) continue;
          usage.add('alice', perStep);
          used += perStep;
        }
        await clock.advance(stepMs);
      }
      expect(used).toBeGreaterThanOrEqual(quota);
      expect(used / quota, `${seconds} s`).toBeLessThan(1.01);
    }
  });

  it('while the cluster is away, relays that know of each other stay within the quota together', async () => {
    const quota = 300 * MB;
    const { clock, relay } = world({ quota });
    const all = ['1', '2', '3'].map((id) => relay(id));
    for (const { usage } of all) usage.add('alice', 20 * MB);
    await clock.advance(5_000);
    for (const { bus } of all) bus.cut();
    let used = 60 * MB;
    for (let step = 0; step < 1_000; step++) {
      for (const { usage } of all) {
        if (usage.usedBy('alice') >= quota) continue;
        usage.add('alice', MB);
        used += MB;
      }
    }
    expect(used).toBe(quota);
    for (const { bus } of all) bus.mend();
    await clock.advance(3_000);
    for (const { usage } of all) expect(usage.usedBy('alice')).toBe(quota);
  });

  it('a relay that crashed takes up from the cluster what its own file has lost', async () => {
    const { clock, relay } = world({});
    relay('1').usage.add('alice', 10);
    await clock.advance(3_000);
    const own = new OwnCounter();
    own.add('alice', 4);
    const again = relay('1', own);
    await clock.advance(1);
    expect([again.usage.usedBy('alice'), own.usedBy('alice')]).toEqual([10, 10]);
  });

  it('what a relay counted while the cluster was away counts at the others after it was started again', async () => {
    const { clock, relay } = world({});
    const [one, two] = [relay('1'), relay('2')];
    one.usage.add('alice', 10);
    await clock.advance(3_000);
    one.bus.cut();
    one.usage.add('alice', 5);
    one.usage.add('bob', 7);
    await one.usage.close();
    expect(two.usage.usedBy('alice')).toBe(10);
    const again = relay('1', one.own);
    await clock.advance(3_000);
    expect(['alice', 'bob'].map((name) => two.usage.usedBy(name))).toEqual([15, 7]);
    expect(['alice', 'bob'].map((name) => again.usage.usedBy(name))).toEqual([15, 7]);
  });

  it('relays write anew what they have counted, where NATS has lost it', async () => {
    const { clock, hub, relay } = world({});
    const [one, two] = [relay('1'), relay('2')];
    one.usage.add('alice', 10);
    await clock.advance(3_000);
    for (const { bus } of [one, two]) bus.cut();
    hub.bucket(BUCKET).clear();
    for (const { bus } of [one, two]) bus.mend();
    expect(two.usage.usedBy('alice')).toBe(0);
    await clock.advance(3_000);
    expect([one.usage.usedBy('alice'), two.usage.usedBy('alice')]).toEqual([10, 10]);
  });

  it('a relay that closes writes what it has counted', async () => {
    const { clock, relay } = world({});
    const [one, two] = [relay('1'), relay('2')];
    await clock.advance(1);
    one.usage.add('alice', 10);
    await one.usage.close();
    await clock.advance(1);
    expect(two.usage.usedBy('alice')).toBe(10);
  });

  it('each month begins with nothing, at all relays', async () => {
    const { clock, relay } = world({});
    const [one, two] = [relay('1'), relay('2')];
    one.usage.add('alice', 10);
    await clock.advance(3_000);
    one.own.counts.clear();
    two.own.counts.clear();
    clock.setWallTime(Date.UTC(2026, 1, 1));
    expect([one.usage.usedBy('alice'), two.usage.usedBy('alice')]).toEqual([0, 0]);
    two.usage.add('alice', 3);
    await clock.advance(3_000);
    expect([one.usage.usedBy('alice'), two.usage.usedBy('alice')]).toEqual([3, 3]);
  });
});
