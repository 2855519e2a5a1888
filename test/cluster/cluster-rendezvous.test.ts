import { describe, expect, it } from 'vitest';
import { ClusterRendezvous } from '../../src/cluster/cluster-rendezvous.ts';
import { KnownRelays } from '../../src/cluster/known-relays.ts';
import { ClusterClaims } from '../../src/cluster/ticket-claims.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import type { Call, CallOutcome } from '../../src/relay/rendezvous.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { MemoryHub } from '../support/cluster/memory-bus.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const TOKEN = '00112233445566778899aabbccddeeff';

function world() {
  const clock = new VirtualClock();
  const hub = new MemoryHub(clock);
  const relay = (node: string, answer: (call: Call) => CallOutcome = () => 'absent') => {
    const bus = hub.connect();
    const own = () => ({ node, id: `${node}${node}`, url: `wss://${node}.example`, pins: [] });
    const relays = new KnownRelays(bus, 'wstun', own, (url) => void shared.push(url), clock);
    relays.begin();
    const calls: Call[] = [];
    const shared: string[] = [];
    const dialled: { exit: string; relay: string; token: string }[] = [];
    const forwarded: { exit: string; peer: string }[] = [];
    const rendezvous = new ClusterRendezvous({
      ...{ bus, cluster: 'wstun', own, logger: silentLogger, clock },
      keys: { share() {}, repeat() {} },
      dialAs: async (exit, { url }, token): Promise<MessageLink> => {
        dialled.push({ exit, relay: url, token });
        return memoryLinkPair()[0];
      },
    });
    rendezvous.setHandler({
      handleCall: (_exit, call) => {
        calls.push(call);
        return answer(call);
      },
      handleAnswer() {},
      handleForward: (exit, _link, peer) => void forwarded.push({ exit, peer }),
      handleKeys() {},
      handleReplaced() {},
    });
    return { bus, rendezvous, relays, calls, dialled, forwarded };
  };
  const during = async <T>(work: Promise<T>): Promise<T> => {
    await clock.advance(10_000);
    return await work;
  };
  return { clock, hub, relay, during };
}

describe('rendezvous in a cluster', () => {
  it('an exit that is registered at no relay is absent without any wait', async () => {
    const { clock, relay } = world();
    const { rendezvous } = relay('aaaaaaaa');
    relay('bbbbbbbb', () => 'called');
    const before = clock.now();
    expect(await rendezvous.call('home', TOKEN)).toBe('absent');
    expect(clock.now()).toBe(before);
  });

  it('a call goes to one relay that has the exit, with the URL of the one that has the client', async () => {
    const { relay } = world();
    const here = relay('aaaaaaaa');
    const others = [relay('bbbbbbbb', () => 'called'), relay('cccccccc', () => 'called')];
    const withdrawals = others.map(({ rendezvous }) => rendezvous.announce('a.b'));
    expect(await here.rendezvous.call('a.b', TOKEN)).toBe('called');
    const calls = others.flatMap((each) => each.calls);
    expect(calls).toEqual([{ token: TOKEN, relay: 'wss://aaaaaaaa.example' }]);
    for (const withdraw of withdrawals) withdraw();
    expect(await here.rendezvous.call('a.b', TOKEN)).toBe('absent');
  });

  it('a relay that is cut off, or hears nothing, takes an exit for unreachable', async () => {
    const { relay, during } = world();
    const [here, there] = [relay('aaaaaaaa'), relay('bbbbbbbb', () => 'called')];
    there.rendezvous.announce('home');
    here.bus.cut();
    expect(await here.rendezvous.call('home', TOKEN)).toBe('unreachable');
    here.bus.mend();
    // It subscribes, and never answers.
    here.bus.subscribe('wstun.exit.silent', () => {});
    expect(await during(here.rendezvous.call('silent', TOKEN))).toBe('unreachable');
  });

  it('a relay that hangs, and still subscribes for an exit, does not delay a call to another one', async () => {
    const { clock, relay } = world();
    const [here, hung, there] = [relay('aaaaaaaa'), relay('bbbbbbbb'), relay('cccccccc', () => 'called')];
    hung.bus.subscribe('wstun.exit.home', () => {});
    there.rendezvous.announce('home');
    const before = clock.now();
    expect(await here.rendezvous.call('home', TOKEN)).toBe('called');
    expect([there.calls.length, clock.now()]).toEqual([1, before]);
  });

  it('where the exit cannot go to another relay, its own relay dials there for it, and forwards', async () => {
    const { clock, relay } = world();
    const [here, there] = [relay('aaaaaaaa'), relay('bbbbbbbb', () => 'unreachable')];
    there.rendezvous.announce('home');
    expect(await here.rendezvous.call('home', TOKEN)).toBe('called');
    await clock.advance(1);
    expect(there.dialled).toEqual([{ exit: 'home', relay: 'wss://aaaaaaaa.example', token: TOKEN }]);
    expect(there.forwarded).toEqual([{ exit: 'home', peer: 'relay-aaaaaaaa' }]);
  });

  it('an exit that says it cannot reach a relay is not sent there again for ten minutes', async () => {
    const { clock, relay } = world();
    const [here, there] = [relay('aaaaaaaa'), relay('bbbbbbbb', () => 'called')];
    there.rendezvous.announce('home');
    await here.rendezvous.call('home', TOKEN);
    there.rendezvous.noteUnreached('home', TOKEN);
    await clock.advance(1);
    expect(there.dialled.map(({ token }) => token)).toEqual([TOKEN]);
    // A token that was not sent, or that was reported before, changes nothing.
    there.rendezvous.noteUnreached('home', TOKEN);
    await clock.advance(1);
    expect(there.dialled).toHaveLength(1);
    const next = TOKEN.replace('00', '01');
    expect(await here.rendezvous.call('home', next)).toBe('called');
    await clock.advance(1);
    expect(there.dialled.map(({ token }) => token)).toEqual([TOKEN, next]);
    expect(there.calls).toHaveLength(1);
    await clock.advance(600_000);
    await here.rendezvous.call('home', next);
    expect(there.calls).toHaveLength(2);
  });

  it('a message that is no call is ignored', async () => {
    const { hub, clock, relay } = world();
    const there = relay('bbbbbbbb', () => 'called');
    const answers: Uint8Array[] = [];
    const call = { exit: 'home', node: 'aaaaaaaa', url: 'wss://a.example', pins: [], token: TOKEN };
    const bad = [
      '',
      'null',
      '[]',
      ...[{ exit: '' }, { exit: 'a b' }, { node: 'A' }, { token: 'x' }, { url: 'http://u:p@x' }].map((more) => ({
        ...call,
        ...more,
      })),
    ];
    for (const data of bad) {
      const text = typeof data === 'string' ? data : JSON.stringify(data);
      hub.deliver('wstun.calls.bbbbbbbb', { data: Buffer.from(text), respond: (answer) => void answers.push(answer) });
    }
    await clock.advance(1);
    expect([there.calls, answers]).toEqual([[], []]);
    hub.deliver('wstun.calls.bbbbbbbb', { data: Buffer.from(JSON.stringify(call)), respond: () => {} });
    await clock.advance(1);
    expect(there.calls).toHaveLength(1);
  });
});

describe('relays of a cluster', () => {
  it('relays know of each other within a moment, forget one that goes, and one that is silent after 16 s', async () => {
    const { clock, relay } = world();
    const [one, two, three] = [relay('aaaaaaaa'), relay('bbbbbbbb'), relay('cccccccc')];
    await clock.advance(1);
    const nodes = () => one.relays.others.map(({ node }) => node).sort();
    expect(nodes()).toEqual(['bbbbbbbb', 'cccccccc']);
    expect(one.relays.others[0]?.url).toMatch(/^wss:\/\/[bc]{8}\.example$/);
    two.relays.close();
    await clock.advance(1);
    expect(nodes()).toEqual(['cccccccc']);
    three.bus.cut();
    await clock.advance(20_000);
    expect(nodes()).toEqual([]);
    three.bus.mend();
    await clock.advance(1);
    expect(nodes()).toEqual(['cccccccc']);
  });
});

describe('relays of a cluster that is away', () => {
  it('while NATS is away, the relays that were there count; those that do not come back are forgotten', async () => {
    const { clock, relay } = world();
    const [one, two, three] = [relay('aaaaaaaa'), relay('bbbbbbbb'), relay('cccccccc')];
    await clock.advance(1);
    for (const { bus } of [one, two, three]) bus.cut();
    await clock.advance(600_000);
    expect(one.relays.otherIds.size).toBe(2);
    for (const { bus } of [one, two]) bus.mend();
    await clock.advance(1_000);
    expect(one.relays.otherIds.size).toBe(2);
    await clock.advance(16_000);
    expect(one.relays.others.map(({ node }) => node)).toEqual(['bbbbbbbb']);
  });
});

describe('tickets in a cluster', () => {
  it('a ticket that is not for one relay alone opens at one of them, and at none while the cluster is away', async () => {
    const { hub } = world();
    const nodes = [1n, 2n].map((ours) => {
      const bus = hub.connect();
      return { bus, tickets: new ClusterClaims(bus.bucket('wstun-tickets'), (audience) => audience === ours) };
    });
    const claims = (nonce: string, audience?: bigint) =>
      Promise.all(nodes.map(({ tickets }) => tickets.claim(nonce, audience)));
    expect(await claims('aa')).toEqual([true, false]);
    expect(await claims('aa', 3n)).toEqual([false, false]);
    expect(await claims('bb', 3n)).toEqual([true, false]);
    nodes[1]?.bus.cut();
    expect(await nodes[1]?.tickets.claim('cc', undefined)).toBe(false);
    expect(await nodes[1]?.tickets.claim('cc', 2n)).toBe(true);
    expect(hub.bucket('wstun-tickets').size).toBe(2);
  });

  it('two relays that say the same URL are told so once, and know that it is shared', async () => {
    const { clock, hub } = world();
    const told: string[] = [];
    const relays = ['aaaaaaaa', 'bbbbbbbb', 'cccccccc'].map((node) => {
      const url = node.startsWith('c') ? 'wss://c.example' : 'wss://same.example';
      const known = new KnownRelays(
        hub.connect(),
        'wstun',
        () => ({ node, id: `${node}${node}`, url, pins: [] }),
        (shared) => told.push(`${node} ${shared}`),
        clock,
      );
      known.begin();
      return known;
    });
    await clock.advance(12_000);
    expect(new Set(told)).toEqual(new Set(['aaaaaaaa wss://same.example', 'bbbbbbbb wss://same.example']));
    expect(told).toHaveLength(2);
    expect(relays.map((known) => known.isShared('wss://same.example'))).toEqual([true, true, false]);
  });
});
