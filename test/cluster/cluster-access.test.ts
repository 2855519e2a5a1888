import { describe, expect, it } from 'vitest';
import { ClusterAccess } from '../../src/cluster/cluster-access.ts';
import { createIdentity, formatPublicIdentity } from '../../src/crypto/keys.ts';
import type { WstunError } from '../../src/errors.ts';
import type { AccessEntry } from '../../src/state/access-list.ts';
import { MemoryHub } from '../support/cluster/memory-bus.ts';
import { faultOfPromise } from '../support/faults.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const parsers = { allow: () => {}, listen: () => {} };
const BUCKET = 'wstun-access';

function entryOf(name: string, more: Partial<AccessEntry> = {}): AccessEntry {
  return { name, key: createIdentity().public, role: 'client', allow: [], ...more };
}

function world() {
  const clock = new VirtualClock();
  const hub = new MemoryHub(clock);
  /** A relay, or a command. */
  const member = (kept?: string) => {
    const bus = hub.connect();
    const keptTexts: string[] = [];
    const changes: string[][] = [];
    const faults: WstunError[] = [];
    const access = new ClusterAccess(bus.bucket(BUCKET), {
      ...{ place: 'the cluster wstun', parsers, kept, clock },
      keep: (text) => void keptTexts.push(text),
    });
    const follow = () =>
      access.follow({
        handleChange: (entries) => void changes.push(entries.map(({ name }) => name)),
        handleFault: (fault) => void faults.push(fault),
      });
    return { bus, access, follow, changes, faults, keptTexts };
  };
  /** Runs it while time passes. */
  const during = async <T>(work: Promise<T>): Promise<T> => {
    work.catch(() => {});
    await clock.advance(30_000);
    return await work;
  };
  return { clock, hub, member, during };
}

describe('access list of a cluster', () => {
  it('an entry that one adds to the list of a cluster is in force at all relays at once, and its removal too', async () => {
    const { clock, member } = world();
    const [relay, other, command] = [member(), member(), member()];
    await relay.follow();
    await other.follow();
    await command.access.add(entryOf('alice', { allow: ['10.0.0.0/8'] }));
    await clock.advance(50);
    expect([relay.changes.at(-1), other.changes.at(-1)]).toEqual([['alice'], ['alice']]);
    await command.access.remove('alice');
    await clock.advance(50);
    expect([relay.changes.at(-1), other.changes.at(-1)]).toEqual([[], []]);
  });

  it('changes of the list of a cluster have the same faults as those of a file', async () => {
    const { member } = world();
    const { access } = member();
    const alice = entryOf('alice');
    await access.add(alice);
    const none = { allow: [], disallow: [], limits: new Map() };
    expect(await faultOfPromise(access.add(entryOf('alice')))).toBe('name-taken');
    expect(await faultOfPromise(access.add({ ...alice, name: 'bob' }))).toBe('bad-key');
    expect(await faultOfPromise(access.add(entryOf('no/name')))).toBe('bad-name');
    expect(await faultOfPromise(access.remove('bob'))).toBe('name-unknown');
    expect(await faultOfPromise(access.change('bob', none))).toBe('name-unknown');
    expect(await faultOfPromise(access.change('alice', { ...none, disallow: ['*'] }))).toBe('bad-rule');
    expect(await faultOfPromise(access.replaceKeys(new Map([['bob', alice.key]])))).toBe('name-unknown');
  });

  it('rules, limits and keys of an entry in a cluster can be changed, and names may have dots', async () => {
    const { clock, member } = world();
    const { access } = member();
    await access.add(entryOf('a..b.', { allow: ['*'] }));
    await access.change('a..b.', { allow: ['10.0.0.0/8'], disallow: ['*'], limits: new Map([['quota', 5_000_000]]) });
    const { public: key } = createIdentity();
    await access.replaceKeys(new Map([['a..b.', key]]));
    await clock.advance(50);
    const [entry] = await access.readNow();
    expect([entry?.name, entry?.allow, entry?.limits]).toEqual(['a..b.', ['10.0.0.0/8'], { quota: 5_000_000 }]);
    expect(entry && formatPublicIdentity(entry.key)).toBe(formatPublicIdentity(key));
  });

  it('keys of several names are replaced in a cluster all or none', async () => {
    const { clock, member } = world();
    const { access } = member();
    const alice = entryOf('alice');
    await access.add(alice);
    const keys = new Map(['alice', 'bob'].map((name) => [name, createIdentity().public]));
    expect(await faultOfPromise(access.replaceKeys(keys))).toBe('name-unknown');
    await clock.advance(50);
    expect((await access.readNow()).map(({ key }) => formatPublicIdentity(key))).toEqual([
      formatPublicIdentity(alice.key),
    ]);
  });

  it('a new key whose answer was lost is taken back, too, where another name cannot have one', async () => {
    const { member, during } = world();
    const { access, bus } = member();
    const alice = entryOf('alice');
    await access.add(alice);
    const keys = new Map(['alice', 'bob'].map((name) => [name, createIdentity().public]));
    bus.bucket(BUCKET).lostAnswers = 1;
    expect(await faultOfPromise(during(access.replaceKeys(keys)))).toBe('name-unknown');
    expect((await access.readNow()).map(({ key }) => formatPublicIdentity(key))).toEqual([
      formatPublicIdentity(alice.key),
    ]);
  });

  it('a change whose answer was lost is not taken for one of somebody else', async () => {
    const { member, during } = world();
    const { access, bus } = member();
    const bucket = bus.bucket(BUCKET);
    bucket.lostAnswers = 1;
    await during(access.add(entryOf('alice')));
    bucket.lostAnswers = 1;
    await during(access.remove('alice'));
    expect(await faultOfPromise(access.remove('alice'))).toBe('name-unknown');
  });

  it('a change waits while the cluster is away, and fails with cluster-away after 20 s', async () => {
    const { clock, member, during } = world();
    const { access, bus } = member();
    await access.add(entryOf('alice'));
    bus.cut();
    const removal = access.remove('alice');
    await clock.advance(5_000);
    bus.mend();
    await clock.advance(1_000);
    await removal;
    bus.cut();
    expect(await faultOfPromise(during(access.add(entryOf('bob'))))).toBe('cluster-away');
  });

  it('what is known of the list holds while the cluster is away, and what changed meanwhile is learnt after that', async () => {
    const { clock, member } = world();
    const [relay, command] = [member(), member()];
    await relay.follow();
    await command.access.add(entryOf('alice'));
    await command.access.add(entryOf('bob'));
    await clock.advance(50);
    relay.bus.cut();
    await command.access.remove('alice');
    await command.access.add(entryOf('carol'));
    await clock.advance(60_000);
    expect((await relay.access.read()).map(({ name }) => name)).toEqual(['alice', 'bob']);
    relay.bus.mend();
    await clock.advance(50);
    expect(relay.changes.at(-1)).toEqual(['bob', 'carol']);
  });

  it('a relay starts with what it kept of the list while the cluster is away', async () => {
    const { clock, member } = world();
    const [relay, command] = [member(), member()];
    await relay.follow();
    await command.access.add(entryOf('alice', { allow: ['*'], limits: { sessions: 3 } }));
    await command.access.add(entryOf('home', { role: 'exit' }));
    await clock.advance(50);
    const again = member(relay.keptTexts.at(-1));
    again.bus.cut();
    const entries = await again.access.read();
    expect(entries.map(({ name, role, limits }) => [name, role, limits])).toEqual([
      ['alice', 'client', { sessions: 3 }],
      ['home', 'exit', undefined],
    ]);
  });

  it('a relay that knows nothing of the list waits for it, 5 s at most', async () => {
    const { clock, member, during } = world();
    const { access: command } = member();
    await command.add(entryOf('alice'));
    const late = member();
    late.bus.cut();
    const reading = late.access.read();
    await clock.advance(1_000);
    late.bus.mend();
    await clock.advance(1);
    expect((await reading).map(({ name }) => name)).toEqual(['alice']);
    const never = member();
    never.bus.cut();
    expect(await during(never.access.read())).toEqual([]);
    expect(await faultOfPromise(during(never.access.readNow()))).toBe('cluster-away');
  });

  it('a list that is lost at the servers stays in force, and one that was emptied by hand does not', async () => {
    const { clock, hub, member } = world();
    const [relay, command] = [member(), member()];
    await relay.follow();
    await command.access.add(entryOf('alice'));
    await clock.advance(50);
    hub.values.clear();
    hub.used.clear();
    relay.bus.mend();
    await clock.advance(50);
    expect((await relay.access.read()).map(({ name }) => name)).toEqual(['alice']);
    expect(relay.faults.map(({ fault }) => fault)).toEqual(['access-malformed']);
    hub.used.add(BUCKET);
    relay.bus.mend();
    await clock.advance(50);
    expect(await relay.access.read()).toEqual([]);
  });

  it('a value that is no entry is reported once, and the entry before it stays in force', async () => {
    const { clock, hub, member } = world();
    const [relay, command] = [member(), member()];
    await relay.follow();
    await command.access.add(entryOf('alice'));
    const [other] = [...hub.bucket(BUCKET).values()];
    hub.write(BUCKET, 'alice', Buffer.from('nonsense'));
    hub.write(BUCKET, 'alice', Buffer.from('nonsense'));
    // Of another name than the key.
    hub.write(BUCKET, 'mallory', other?.value);
    await clock.advance(50);
    expect(relay.changes.at(-1)).toEqual(['alice']);
    expect(relay.faults.map(({ detail }) => detail)).toEqual([
      expect.stringContaining('"alice"'),
      expect.stringContaining('its value is not the table of "mallory"'),
    ]);
  });
});
