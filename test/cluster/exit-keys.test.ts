import { describe, expect, it } from 'vitest';
import { ExitKeys } from '../../src/cluster/exit-keys.ts';
import { createIdentity } from '../../src/crypto/keys.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { MemoryHub } from '../support/cluster/memory-bus.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const newKeys = (count: number) =>
  Array.from({ length: count }, () => Buffer.from(createIdentity().public.gate).toString('base64url'));

function world() {
  const clock = new VirtualClock();
  const hub = new MemoryHub(clock);
  const relay = () => {
    const bus = hub.connect();
    const known = new Map<string, readonly string[]>();
    const bucket = bus.bucket('wstun-exits');
    const keys = new ExitKeys(bucket, (exit, list) => void known.set(exit, list), silentLogger, clock);
    return { bus, bucket, known, keys };
  };
  return { clock, hub, relay };
}

describe('keys of exits in a cluster', () => {
  it('the keys that an exit announces at one relay are known at the others, also at one that starts later', async () => {
    const { clock, relay } = world();
    const [one, two] = [relay(), relay()];
    const keys = newKeys(3);
    one.keys.share('home.example', keys);
    await clock.advance(1);
    expect(two.known.get('home.example')).toEqual(keys);
    const late = relay();
    await clock.advance(1);
    expect(late.known.get('home.example')).toEqual(keys);
    one.keys.share('home.example', []);
    await clock.advance(1);
    expect([two.known.get('home.example'), late.known.get('home.example')]).toEqual([[], []]);
  });

  it('ten thousand keys take 320 KB, and the same list is written once', async () => {
    const { clock, hub, relay } = world();
    const { keys } = relay();
    const list = newKeys(64);
    const long = Array.from({ length: 10_000 }, (_, at) => list[at % 64] ?? '');
    keys.share('home', long);
    await clock.advance(1);
    expect(hub.written).toBe(320_000);
    keys.share('home', long);
    await clock.advance(1);
    expect(hub.written).toBe(320_000);
  });

  it('what an exit announces while the cluster is away is written when it is back', async () => {
    const { clock, relay } = world();
    const [one, two] = [relay(), relay()];
    await clock.advance(1);
    const keys = newKeys(2);
    one.bus.cut();
    one.keys.share('home', newKeys(1));
    one.keys.share('home', keys);
    await clock.advance(1);
    expect(two.known.has('home')).toBe(false);
    one.bus.mend();
    await clock.advance(1);
    expect(two.known.get('home')).toEqual(keys);
  });

  it('keys that the servers refuse during an election are written soon after, and none once it is closed', async () => {
    const { clock, relay } = world();
    const [one, two] = [relay(), relay()];
    await clock.advance(1);
    const keys = newKeys(1);
    one.bucket.failures = 2;
    one.keys.share('home', keys);
    await clock.advance(1);
    expect(two.known.has('home')).toBe(false);
    await clock.advance(10_000);
    expect(two.known.get('home')).toEqual(keys);
    one.bucket.failures = 1;
    one.keys.share('home', newKeys(1));
    await clock.advance(1);
    one.keys.close();
    await clock.advance(60_000);
    expect(two.known.get('home')).toEqual(keys);
  });

  it('an exit whose keys were removed while a relay was cut off has none there after that', async () => {
    const { clock, relay } = world();
    const [one, two] = [relay(), relay()];
    one.keys.share('home', newKeys(1));
    await clock.advance(1);
    two.bus.cut();
    one.keys.share('home', []);
    await clock.advance(1);
    two.bus.mend();
    await clock.advance(1);
    expect(two.known.get('home')).toEqual([]);
  });
});
