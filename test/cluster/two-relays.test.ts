/** Named exits of two relays of a cluster, over links in memory: who is joined with whom, and by which relay. */
import { describe, expect, it } from 'vitest';
import { ClusterRendezvous } from '../../src/cluster/cluster-rendezvous.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { NamedExits } from '../../src/relay/named-exits.ts';
import {
  announcements,
  type ControlMessage,
  decodeControl,
  ELSEWHERE_FEATURE,
  encodeControl,
  encodeNotice,
} from '../../src/transport/control-messages.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { MemoryHub } from '../support/cluster/memory-bus.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const ABSENT = Buffer.concat(encodeNotice('exit-absent')).toString('hex');

/** The far end of a link. */
class Far extends LinkRecorder {
  constructor(readonly link: MessageLink) {
    super(link);
  }

  get control(): (ControlMessage | undefined)[] {
    return this.messages.map((message) => decodeControl([message])).filter((message) => message?.type !== 'ping');
  }

  get texts(): string[] {
    return this.messages.map((message) => Buffer.from(message).toString());
  }

  say(text: string): void {
    this.link.send([Buffer.from(text)]);
  }

  tell(message: ControlMessage): void {
    this.link.send(encodeControl(message));
  }
}

function world() {
  const clock = new VirtualClock();
  const hub = new MemoryHub(clock);
  const relays = new Map<string, { readonly exits: NamedExits; readonly reached: string[] }>();
  /** URLs at which nobody answers. */
  const closed = new Set<string>();
  const newRelay = (node: string) => {
    const url = `wss://${node}.example`;
    const bus = hub.connect();
    const own = () => ({ node, id: `${node}${node}`, url, pins: [] });
    const rendezvous = new ClusterRendezvous({
      ...{ bus, cluster: 'wstun', own, logger: silentLogger, clock },
      keys: { share() {}, repeat() {} },
      dialAs: async (exit, { url: relay }, token) => dial(relay, 'exit', exit, token).link,
    });
    const tickets = { add() {}, remove() {} };
    const exits = new NamedExits({ tickets, logger: silentLogger, instance: '0f'.repeat(16), rendezvous, clock });
    relays.set(url, { exits, reached: [] });
    return { url, bus, exits };
  };
  const dial = (url: string, role: 'client' | 'exit', peer: string, destination: string, features = 0): Far => {
    const relay = relays.get(url);
    if (relay === undefined || closed.has(url)) throw new Error(`nobody answers at ${url}`);
    const [near, far] = memoryLinkPair();
    relay.reached.push(`${role} ${destination === '' ? 'control' : 'data'}`);
    relay.exits.serve(near, { role, peer, destination, features });
    return new Far(far);
  };
  return { clock, hub, newRelay, dial, closed, settle: (ms = 20) => clock.advance(ms) };
}

/** A client at relay a, its exit at relay b. */
async function apart(features: number) {
  const all = world();
  const [a, b] = [all.newRelay('aaaaaaaa'), all.newRelay('bbbbbbbb')];
  const control = all.dial(b.url, 'exit', 'home', '', features);
  for (const message of announcements([])) control.tell(message);
  await all.settle();
  const client = all.dial(a.url, 'client', 'home/1', 'home');
  client.say('early');
  await all.settle();
  return { ...all, a, b, control, client, call: control.control.find((message) => message?.type === 'call') };
}

describe('two relays of a cluster', () => {
  it('a client at one relay is joined there with its exit, which is registered at the other', async () => {
    const { a, b, call, client, dial, settle } = await apart(ELSEWHERE_FEATURE);
    expect(call).toMatchObject({ relay: a.url });
    const data = dial(a.url, 'exit', 'home', call?.type === 'call' ? call.token : '');
    await settle();
    data.say('hello');
    client.say('world');
    await settle();
    expect([data.texts, client.texts]).toEqual([['early', 'world'], ['hello']]);
    expect([a.exits.forwarded.size, b.exits.forwarded.size]).toEqual([1, 0]);
  });

  it('a client and an exit of an earlier version at two relays are joined over both of them', async () => {
    const { a, b, call, client, dial, settle } = await apart(0);
    expect(call).toEqual({ type: 'call', token: expect.any(String) });
    const data = dial(b.url, 'exit', 'home', call?.type === 'call' ? call.token : '');
    await settle();
    data.say('hello');
    client.say('world');
    await settle();
    expect([data.texts, client.texts]).toEqual([['early', 'world'], ['hello']]);
    expect([a.exits.forwarded.size, b.exits.forwarded.size]).toEqual([1, 1]);
    client.link.close();
    await settle();
    expect(data.closes).toHaveLength(1);
    expect([a.exits.forwarded.size, b.exits.forwarded.size]).toEqual([0, 0]);
  });

  it('an exit that cannot reach the other relay says so, and is called by its own relay within a moment', async () => {
    const { b, call, control, client, dial, settle } = await apart(ELSEWHERE_FEATURE);
    control.tell({ type: 'unreached', token: call?.type === 'call' ? call.token : '' });
    await settle();
    const again = control.control.at(-1);
    expect(again).toEqual({ type: 'call', token: expect.any(String) });
    const data = dial(b.url, 'exit', 'home', again?.type === 'call' ? again.token : '');
    await settle();
    data.say('hello');
    await settle();
    expect([data.texts, client.texts]).toEqual([['early'], ['hello']]);
  });

  it('a client whose exit goes while its relay forwards for it hears that the exit is absent', async () => {
    const { control, client, settle } = await apart(0);
    control.link.close();
    await settle();
    expect(client.messages.map((message) => Buffer.from(message).toString('hex'))).toEqual([ABSENT]);
    expect(client.closes).toHaveLength(1);
  });

  it('a client of an exit that is at no relay hears at once that it is absent', async () => {
    const { newRelay, dial, settle } = world();
    const [a] = [newRelay('aaaaaaaa'), newRelay('bbbbbbbb')];
    const client = dial(a.url, 'client', 'home/1', 'home');
    await settle(1);
    expect(client.messages.map((message) => Buffer.from(message).toString('hex'))).toEqual([ABSENT]);
  });

  it('a relay that cannot be reached leaves its client to hear after 8 s that the exit is absent', async () => {
    const { a, closed, control, call, client, settle } = await apart(ELSEWHERE_FEATURE);
    closed.add(a.url);
    control.tell({ type: 'unreached', token: call?.type === 'call' ? call.token : '' });
    await settle(9_000);
    expect(client.messages.map((message) => Buffer.from(message).toString('hex'))).toEqual([ABSENT]);
  });

  it('one call between two relays takes less than 300 bytes of messages', async () => {
    const { hub, a, dial, settle } = await apart(ELSEWHERE_FEATURE);
    const { published } = hub;
    dial(a.url, 'client', 'home/2', 'home');
    await settle();
    expect(hub.published - published).toBeGreaterThan(50);
    expect(hub.published - published).toBeLessThan(300);
  });
});
