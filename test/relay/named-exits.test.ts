import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import type { NamedExitsOptions } from '../../src/relay/named-exits.ts';
import {
  encodeNotice,
  INSTANCE_FEATURE,
  OCCUPIED_FEATURE,
  SEEN_FEATURE,
  TAKEN_FEATURE,
  WHEN_FREE_FEATURE,
} from '../../src/transport/control-messages.ts';
import { BUSY, type Far, INSTANCE, namedExits } from '../support/links/named-exits.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

let clock = new VirtualClock();
beforeEach(() => {
  clock = new VirtualClock();
});

const setUp = (limits?: NamedExitsOptions['limits'], options?: Partial<NamedExitsOptions>) =>
  namedExits(clock, limits, options);
const settle = (ms = 5) => clock.advance(ms);
const NOTICE = Buffer.concat(encodeNotice('exit-absent'));
const newKeys = (count: number): string[] => Array.from({ length: count }, newKey);
const newKey = (): string => randomBytes(32).toString('base64url');

it.each([
  ['93.184.216.34:4711', SEEN_FEATURE | TAKEN_FEATURE, [{ type: 'seen', address: '93.184.216.34' }]],
  ['[2606:2800::1]:4711', SEEN_FEATURE, [{ type: 'seen', address: '2606:2800::1' }]],
  ['[::ffff:93.184.216.34]:4711', SEEN_FEATURE, [{ type: 'seen', address: '::ffff:93.184.216.34' }]],
  ['unknown:0', SEEN_FEATURE, []],
  // An earlier version would end the link for a message that it does not know.
  ['93.184.216.34:4711', TAKEN_FEATURE, []],
  ['93.184.216.34:4711', 0, []],
])(
  'a relay sends an exit from %s with features %d its address only if the exit asks',
  async (remote, features, told) => {
    const home = setUp().exit('home', features, remote);
    await settle();
    expect(home.control).toEqual(told);
  },
);

describe('the id of a relay', () => {
  const ID = { type: 'instance', id: INSTANCE };

  it('an exit that asks gets the id of the relay first, and so does one that only asks whether its name is free', async () => {
    const { exit } = setUp();
    const home = exit('home', INSTANCE_FEATURE | SEEN_FEATURE, '93.184.216.34:4711');
    await settle();
    expect(home.control).toEqual([ID, { type: 'seen', address: '93.184.216.34' }]);
    const asking = exit('home', INSTANCE_FEATURE | OCCUPIED_FEATURE | WHEN_FREE_FEATURE);
    await settle();
    expect(asking.control).toEqual([ID, { type: 'occupied' }]);
    expect([asking.closes.length, home.closes.length]).toEqual([1, 0]);
  });

  it('an earlier exit is told no id: it would end its link for a message that it does not know', async () => {
    const { exit } = setUp();
    const home = exit('home', TAKEN_FEATURE | SEEN_FEATURE | OCCUPIED_FEATURE);
    await settle();
    expect(home.control).toEqual([]);
  });
});

describe('clients of a rendezvous', () => {
  it('a client is connected to its exit, with all that it sent while it was held', async () => {
    const { client, exit, answer } = setUp();
    const home = exit('home');
    const alice = client('home');
    alice.link.send([Buffer.from('hello')]);
    await settle();
    expect(home.tokens).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/)]);
    const data = answer('home', home.tokens[0]!);
    await settle();
    data.link.send([Buffer.from('welcome')]);
    await settle(60_000);
    expect([data.messages.map(String), alice.messages.map(String)]).toEqual([['hello'], ['welcome']]);
    alice.link.close();
    await settle();
    expect(data.closes).toMatchObject([{ clean: true }]);
  });

  it('a client of an absent exit gets one notice, and its link is closed', async () => {
    const alice = setUp().client('home');
    await settle();
    expect(alice.messages).toEqual([NOTICE]);
    expect(alice.closes).toMatchObject([{ clean: true }]);
    expect(clock.timers).toBe(0);
  });

  it('a client gets a notice after 8 s if its exit does not answer, and a later answer is rejected', async () => {
    const { client, exit, answer } = setUp();
    const home = exit('home');
    const alice = client('home');
    await settle(7_900);
    expect(alice.messages).toEqual([]);
    await settle(200);
    expect(alice.messages).toEqual([NOTICE]);
    const late = answer('home', home.tokens[0]!);
    await settle();
    expect(late.closes).toMatchObject([{ clean: true }]);
  });

  it('a held client gets a notice at once when its exit disconnects', async () => {
    const { client, exit } = setUp();
    const home = exit('home');
    const alice = client('home');
    await settle();
    home.link.abort();
    await settle();
    expect(alice.messages).toEqual([NOTICE]);
  });

  it('a held client that disconnects leaves no request after the exit has answered', async () => {
    const { client, exit, answer } = setUp({ heldClients: 1 });
    const home = exit('home');
    client('home').link.abort();
    await settle();
    const late = answer('home', home.tokens[0]!);
    const next = client('home');
    await settle();
    expect(late.closes).toHaveLength(1);
    expect(home.tokens).toHaveLength(2);
    expect(next.messages).toEqual([]);
  });

  it('a client is rejected if too many are held, for one exit or in all', async () => {
    const { client, exit } = setUp({ requestsPerExit: 2, heldClients: 3 });
    for (const name of ['home', 'shed', 'lab']) exit(name);
    const waiting = [client('home'), client('home'), client('shed')];
    const refused = [client('home'), client('lab')];
    await settle();
    expect(waiting.map(({ messages }) => messages)).toEqual([[], [], []]);
    expect(refused.map(({ messages }) => messages)).toEqual([[BUSY], [BUSY]]);
  });
});

describe('rendezvous requests', () => {
  it('a rendezvous request is answered once, with its own token, by its own exit', async () => {
    const { client, exit, answer } = setUp();
    const [home, shed] = [exit('home'), exit('shed')];
    const [alice, bob] = [client('home'), client('shed')];
    await settle();
    const token = home.tokens[0]!;
    const wrong = [answer('home', '0'.repeat(32)), answer('home', shed.tokens[0]!), answer('shed', token)];
    await settle();
    expect(wrong.map(({ closes, messages }) => [closes.length, messages.length])).toEqual(wrong.map(() => [1, 0]));
    const right = answer('home', token);
    const again = answer('home', token);
    await settle();
    expect([right.closes, again.closes.length, alice.closes, bob.closes]).toEqual([[], 1, [], []]);
    right.link.send([Buffer.from('for alice')]);
    await settle();
    expect([alice.messages.map(String), bob.messages]).toEqual([['for alice'], []]);
  });

  it('each rendezvous request has a token of its own', async () => {
    const { client, exit } = setUp();
    const home = exit('home');
    for (let i = 0; i < 100; i++) client('home', i);
    await settle();
    expect(new Set(home.tokens).size).toBe(100);
  });
});

describe('exits at a rendezvous', () => {
  it('an exit announces its clients in several messages, and is told when they are known', async () => {
    const { exit, known } = setUp();
    const home = exit('home');
    const keys = newKeys(100);
    home.say({ type: 'bearers', keys: keys.slice(0, 20), more: true });
    await settle();
    expect([...known]).toEqual([]);
    home.say({ type: 'bearers', keys: keys.slice(20), more: false });
    await settle(1);
    expect([...known]).toHaveLength(64);
    expect(home.control).toEqual([]);
    await settle(100);
    expect([...known]).toEqual(keys.map((key) => `home: ${key}`));
    expect(home.control).toEqual([{ type: 'registered' }]);

    home.say({ type: 'bearers', keys: keys.slice(1), more: false });
    await settle();
    expect([...known]).toEqual(keys.slice(1).map((key) => `home: ${key}`));
    home.link.abort();
    await settle();
    expect([...known]).toHaveLength(99);
  });

  it('the link of an exit is aborted if it announces too many keys, or sends what only a relay may send', async () => {
    const { exit } = setUp();
    const keys = Array.from({ length: 1_001 }, () => 'A'.repeat(43));
    const many = exit('many');
    for (let i = 0; i < 10; i++) many.say({ type: 'bearers', keys, more: true });
    const odd = exit('odd');
    odd.say({ type: 'call', token: '0'.repeat(32) });
    await settle();
    expect([many.closes, odd.closes]).toMatchObject([[{ clean: false }], [{ clean: false }]]);
  });

  it('an exit is replaced by a newer one of its name, and is told so', async () => {
    const { client, exit, answer, known } = setUp();
    const older = exit('home');
    older.say({ type: 'bearers', keys: [newKey()], more: false });
    const alice = client('home');
    await settle();
    const newer = exit('home');
    await settle();
    expect(older.control.at(-1)).toEqual({ type: 'replaced' });
    expect(older.closes).toMatchObject([{ clean: true }]);
    expect([...known]).toHaveLength(1);
    // Requests that were pending are still answered.
    const data = answer('home', older.tokens[0]!);
    const bob = client('home');
    await settle();
    expect([alice.closes, data.closes, newer.tokens.length]).toEqual([[], [], 1]);
    answer('home', newer.tokens[0]!).link.send([Buffer.from('from the newer')]);
    await settle();
    expect(bob.messages.map(String)).toEqual(['from the newer']);
  });

  it('a replaced exit that understands `occupied` gets it, and registers again only when its name is free', async () => {
    const { exit } = setUp();
    const older = exit('home', TAKEN_FEATURE | OCCUPIED_FEATURE);
    await settle();
    const newer = exit('home', OCCUPIED_FEATURE);
    await settle();
    expect(older.control.at(-1)).toEqual({ type: 'occupied' });
    for (let i = 0; i < 5; i++) {
      const asking = exit('home', OCCUPIED_FEATURE | WHEN_FREE_FEATURE);
      await settle(1_000);
      expect(asking.control).toEqual([{ type: 'occupied' }]);
      expect(asking.closes).toMatchObject([{ clean: true }]);
    }
    expect([newer.control, newer.closes]).toEqual([[], []]);
    newer.link.close();
    await settle();
    const back = exit('home', OCCUPIED_FEATURE | WHEN_FREE_FEATURE);
    back.announce([newKey()]);
    await settle(1_000);
    expect(back.control).toEqual([{ type: 'registered' }]);
    // An exit that does not ask takes the name: a restarted exit must not wait for its own dead link.
    exit('home', OCCUPIED_FEATURE);
    await settle();
    expect(back.control.at(-1)).toEqual({ type: 'occupied' });
  });

  it('an exit that may not register any more loses its control link, held clients, sessions and keys', async () => {
    const { rendezvous, client, exit, answer, known } = setUp();
    const [home, shed] = [exit('home'), exit('shed')];
    for (const far of [home, shed]) far.say({ type: 'bearers', keys: [newKey()], more: false });
    const alice = client('home');
    await settle(50);
    const data = answer('home', home.tokens[0]!);
    const waiting = client('home');
    await settle();
    rendezvous.dropExitsExcept(new Set(['shed', 'lab']));
    await settle();
    expect([home.closes.length, alice.closes.length, data.closes.length, shed.closes.length]).toEqual([1, 1, 1, 0]);
    expect(alice.closes[0]?.clean).toBe(false);
    expect(waiting.messages).toEqual([NOTICE]);
    expect([...known]).toEqual([expect.stringMatching(/^shed: /)]);
  });

  it('an exit that announces again and again has one list a second accepted, and the last one counts', async () => {
    const { exit, add, known } = setUp();
    const home = exit('home');
    let last: string[] = [];
    for (let i = 0; i < 100; i++) {
      last = newKeys(50);
      home.announce(last);
      await settle(20);
    }
    // Four at once, and one in each of the two seconds.
    expect(add.mock.calls.length).toBeLessThanOrEqual(6 * 50);
    await settle(60_000);
    expect([...known]).toEqual(last.map((key) => `home: ${key}`));
    expect(home.closes).toEqual([]);
  });

  it('an exit that sends as fast as it can is read at a limited rate, and keeps its link', async () => {
    const { exit, add } = setUp();
    const home = exit('home');
    const list = newKeys(1_000);
    for (let i = 0; i < 200; i++) home.announce(list);
    await settle(3_000);
    expect(home.link.queuedBytes).toBeGreaterThan(100 * 43_000);
    expect(home.closes).toEqual([]);
    // The same list again is none.
    expect(add.mock.calls.length).toBe(1_000);
    for (let i = 0; i < 5_000; i++) home.say({ type: 'ping' });
    await settle(60_000);
    expect(home.closes).toEqual([]);
  });

  it('an exit with one key is registered within a second while another announces 10,000 new keys each second', async () => {
    const { exit, known, client } = setUp();
    const evil = exit('evil');
    evil.announce(newKeys(10_000));
    await settle(600);
    const victim = exit('victim');
    const key = newKey();
    victim.announce([key]);
    for (let i = 0; i < 10; i++) {
      evil.announce(newKeys(10_000));
      await settle(100);
    }
    expect([...known]).toContain(`victim: ${key}`);
    expect(victim.control).toEqual([{ type: 'registered' }]);
    client('victim');
    await settle();
    expect(victim.tokens).toHaveLength(1);
  });

  it('an exit with few clients is registered although others announce all that a relay accepts', async () => {
    const { exit, known } = setUp();
    const evil = [exit('evil1'), exit('evil2')];
    for (const one of evil) one.announce(newKeys(10_000));
    await settle(10_000);
    expect(evil.map(({ control }) => control)).toEqual([[{ type: 'registered' }], [{ type: 'registered' }]]);
    const keys = newKeys(3);
    const victim = exit('victim');
    victim.announce(keys);
    await settle(1_000);
    expect(victim.control).toEqual([{ type: 'registered' }]);
    for (const key of keys) expect([...known]).toContain(`victim: ${key}`);
    expect([...known]).toHaveLength(20_000);
    const told = evil.flatMap(({ control }) => control.filter((message) => message?.type === 'taken'));
    expect(told).toContainEqual({ type: 'taken', keys: 9_998, of: 10_000 });
    expect(told.every((message) => message?.type === 'taken' && message.of === 10_000)).toBe(true);
  });

  it('an exit gets "registered" only when its whole list is known: at once when others withdraw theirs', async () => {
    const { exit, known } = setUp();
    const others = [exit('a'), exit('b')];
    for (const other of others) other.announce(newKeys(10_000));
    await settle(10_000);
    const [late, old] = [exit('late'), exit('old', 0)];
    late.announce(newKeys(9_000));
    old.announce(newKeys(9_000));
    await settle(30_000);
    // Four exits that all want more than a quarter have a quarter each.
    expect(late.control).toEqual([{ type: 'taken', keys: 5_000, of: 9_000 }]);
    // An exit of an older version would not understand it.
    expect(old.control).toEqual([]);
    for (const name of ['a', 'b', 'late', 'old'])
      expect([...known].filter((place) => place.startsWith(`${name}: `))).toHaveLength(5_000);
    for (const other of others) other.announce([]);
    await settle(10_000);
    expect([late.control.at(-1), old.control]).toEqual([{ type: 'registered' }, [{ type: 'registered' }]]);
  });

  it('clients of an exit stay known over a restart of the relay', async () => {
    const { rendezvous, known, client } = setUp();
    const key = newKey();
    rendezvous.restoreKeys('home', [key]);
    await settle();
    expect([...known]).toEqual([`home: ${key}`]);
    const alice = client('home');
    await settle();
    expect(alice.messages).toEqual([NOTICE]);
  });
});

describe('many clients of one exit', () => {
  const answerAll = async ({ answer }: ReturnType<typeof setUp>, home: Far, from: number): Promise<number> => {
    const tokens = home.tokens.slice(from);
    for (const token of tokens) answer('home', token);
    await settle();
    return from + tokens.length;
  };

  it('300 clients that come at once wait for their turn, and all are connected to their exit', async () => {
    const set = setUp();
    const home = set.exit('home');
    const clients = Array.from({ length: 300 }, (_, i) => set.client('home', i));
    await settle();
    expect(home.tokens).toHaveLength(128);
    let answered = 0;
    for (let round = 0; round < 5; round++) answered = await answerAll(set, home, answered);
    expect(clients.every(({ closes, messages }) => closes.length === 0 && messages.length === 0)).toBe(true);
    expect(new Set(home.tokens).size).toBe(300);
  });

  it('a client is connected although another opens and drops 5,000 links, which costs the exit few dials', {
    timeout: 180_000,
  }, async () => {
    const set = setUp();
    const home = set.exit('home');
    for (let i = 0; i < 5_000; i++) {
      const { link } = set.client('home', 666);
      if (i % 100 === 0) await settle(1);
      link.abort();
    }
    const alice = set.client('home', 1);
    await settle();
    const waitedFrom = home.tokens.length;
    let answered = 0;
    for (let round = 0; round < 10; round++) answered = await answerAll(set, home, answered);
    expect(alice.closes).toEqual([]);
    expect(waitedFrom).toBeLessThanOrEqual(256 + 30);
    expect(home.closes).toEqual([]);
  });

  it('a client whose request was not sent in time is told to try later, not that the exit is absent', async () => {
    const { client, exit } = setUp({ requestsPerExit: 1 });
    exit('home');
    const [first, second] = [client('home', 1), client('home', 2)];
    await settle(8_100);
    expect([first.messages, second.messages]).toEqual([[NOTICE], [BUSY]]);
  });
});

describe('NamedExits.close', () => {
  it('NamedExits.close closes all links and leaves no timer', async () => {
    const { rendezvous, client, exit, answer } = setUp();
    const home = exit('home');
    home.say({ type: 'bearers', keys: Array.from({ length: 20 }, newKey), more: false });
    const alice = client('home');
    await settle();
    const data = answer('home', home.tokens[0]!);
    const waiting = client('home');
    await settle();
    rendezvous.close();
    await settle();
    for (const far of [home, alice, data, waiting]) expect(far.closes).toMatchObject([{ clean: true }]);
    expect(clock.timers).toBe(0);
  });

  it('NamedExits.close sends no notice that an exit is absent: it may be reachable elsewhere', async () => {
    const { rendezvous, client, exit } = setUp();
    exit('home');
    const waiting = client('home');
    await settle();
    rendezvous.close();
    const late = client('home');
    const lateExit = exit('home');
    await settle();
    expect([waiting.messages, late.messages, lateExit.messages]).toEqual([[], [], []]);
    for (const far of [waiting, late, lateExit]) expect(far.closes).toMatchObject([{ clean: true }]);
    expect(clock.timers).toBe(0);
  });

  it('NamedExits.close loses no message that a link had accepted', async () => {
    const { rendezvous, client, exit, answer } = setUp();
    const home = exit('home');
    const alice = client('home');
    await settle();
    const data = answer('home', home.tokens[0]!);
    await settle();
    for (let i = 0; i < 30; i++) data.link.send([Buffer.alloc(10_000, i)]);
    await settle(1);
    const taken = 30 - data.link.queuedBytes / 10_000;
    rendezvous.close();
    await settle();
    expect(alice.messages.length).toBeGreaterThanOrEqual(taken);
  });
});
