import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Bearer } from '../../src/crypto/ticket.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { Rendezvous, type RendezvousLimits } from '../../src/relay/rendezvous.ts';
import {
  type ControlMessage,
  decodeControl,
  encodeControl,
  encodeNotice,
} from '../../src/transport/control-messages.ts';
import { memoryLinkPair } from '../../src/transport/memory-link.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { LinkRecorder } from '../support/link-recorder.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const settle = (ms = 5) => vi.advanceTimersByTimeAsync(ms);
const NOTICE = Buffer.concat(encodeNotice('exit-absent'));
const newKey = (): string => randomBytes(32).toString('base64url');

/** The far end of a link that the gate let in. */
class Far extends LinkRecorder {
  readonly link: MessageLink;

  constructor(link: MessageLink) {
    super(link);
    this.link = link;
  }

  get control(): (ControlMessage | undefined)[] {
    return this.messages.map((message) => decodeControl([message])).filter((message) => message?.type !== 'ping');
  }

  get tokens(): string[] {
    return this.control.flatMap((message) => (message?.type === 'call' ? [message.token] : []));
  }

  say(message: ControlMessage): void {
    this.link.send(encodeControl(message));
  }
}

function setUp(limits: Partial<RendezvousLimits> = {}) {
  const known: string[] = [];
  const placeOf = (bearer: Bearer): string =>
    `${bearer.destination}: ${Buffer.from(bearer.gateKey).toString('base64url')}`;
  const tickets = {
    add: vi.fn((bearer: Bearer): void => void known.push(placeOf(bearer))),
    remove: (bearer: Bearer): void => void known.splice(known.indexOf(placeOf(bearer)), 1),
  };
  const rendezvous = new Rendezvous({ tickets, logger: silentLogger, limits });
  const arrive = (role: 'client' | 'exit', bearer: string, destination: string): Far => {
    const [near, far] = memoryLinkPair();
    rendezvous.serve(near, { role, bearer, destination });
    return new Far(far);
  };
  return {
    rendezvous,
    known,
    add: tickets.add,
    client: (exit: string) => arrive('client', `${exit}/1`, exit),
    exit: (name: string) => arrive('exit', name, ''),
    answer: (name: string, token: string) => arrive('exit', name, token),
  };
}

describe('a client', () => {
  it('meets its exit, with all that it said meanwhile', async () => {
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

  it('of an absent exit is told so in one message, then left', async () => {
    const alice = setUp().client('home');
    await settle();
    expect(alice.messages).toEqual([NOTICE]);
    expect(alice.closes).toMatchObject([{ clean: true }]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('of an exit that does not answer is told after 8 s; an answer then is nobody’s', async () => {
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

  it('of an exit that is lost while it waits is told at once', async () => {
    const { client, exit } = setUp();
    const home = exit('home');
    const alice = client('home');
    await settle();
    home.link.abort();
    await settle();
    expect(alice.messages).toEqual([NOTICE]);
  });

  it('that goes while it waits leaves nothing behind', async () => {
    const { client, exit, answer } = setUp({ calls: 1 });
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

  it('is turned away where too many wait, for one exit or in all', async () => {
    const { client, exit } = setUp({ callsPerExit: 2, calls: 3 });
    for (const name of ['home', 'shed', 'lab']) exit(name);
    const waiting = [client('home'), client('home'), client('shed')];
    const refused = [client('home'), client('lab')];
    await settle();
    expect(waiting.map(({ messages }) => messages)).toEqual([[], [], []]);
    expect(refused.map(({ messages }) => messages)).toEqual([[NOTICE], [NOTICE]]);
  });
});

describe('a call', () => {
  it('is answered once, with its own token, by its own exit', async () => {
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

  it('has a token that no other has', async () => {
    const { client, exit } = setUp();
    const home = exit('home');
    for (let i = 0; i < 100; i++) client('home');
    await settle();
    expect(new Set(home.tokens).size).toBe(100);
  });
});

describe('an exit', () => {
  it('announces who may come, in several messages, and hears when they are known', async () => {
    const { exit, known } = setUp();
    const home = exit('home');
    const keys = Array.from({ length: 30 }, newKey);
    home.say({ type: 'bearers', keys: keys.slice(0, 20), more: true });
    await settle();
    expect(known).toEqual([]);
    home.say({ type: 'bearers', keys: keys.slice(20), more: false });
    await settle(1);
    expect(known).toHaveLength(8);
    expect(home.control).toEqual([]);
    await settle(100);
    expect(known).toEqual(keys.map((key) => `home: ${key}`));
    expect(home.control).toEqual([{ type: 'registered' }]);

    home.say({ type: 'bearers', keys: keys.slice(1), more: false });
    await settle();
    expect(known).toEqual(keys.slice(1).map((key) => `home: ${key}`));
    home.link.abort();
    await settle();
    expect(known).toHaveLength(29);
  });

  it('that announces too many keys, or says what only a relay says, is cut off', async () => {
    const { exit } = setUp();
    const keys = Array.from({ length: 1_001 }, () => 'A'.repeat(43));
    const many = exit('many');
    for (let i = 0; i < 10; i++) many.say({ type: 'bearers', keys, more: true });
    const odd = exit('odd');
    odd.say({ type: 'call', token: '0'.repeat(32) });
    await settle();
    expect([many.closes, odd.closes]).toMatchObject([[{ clean: false }], [{ clean: false }]]);
  });

  it('gives way to a newer one of its name, and is told', async () => {
    const { client, exit, answer, known } = setUp();
    const older = exit('home');
    older.say({ type: 'bearers', keys: [newKey()], more: false });
    const alice = client('home');
    await settle();
    const newer = exit('home');
    await settle();
    expect(older.control.at(-1)).toEqual({ type: 'replaced' });
    expect(older.closes).toMatchObject([{ clean: true }]);
    expect(known).toHaveLength(1);
    // What was under way goes on.
    const data = answer('home', older.tokens[0]!);
    const bob = client('home');
    await settle();
    expect([alice.closes, data.closes, newer.tokens.length]).toEqual([[], [], 1]);
    answer('home', newer.tokens[0]!).link.send([Buffer.from('from the newer')]);
    await settle();
    expect(bob.messages.map(String)).toEqual(['from the newer']);
  });

  it('that may not register any more loses its control link, its callers, its sessions and its clients’ keys', async () => {
    const { rendezvous, client, exit, answer, known } = setUp();
    const [home, shed] = [exit('home'), exit('shed')];
    for (const far of [home, shed]) far.say({ type: 'bearers', keys: [newKey()], more: false });
    const alice = client('home');
    await settle(50);
    const data = answer('home', home.tokens[0]!);
    const waiting = client('home');
    await settle();
    rendezvous.keepOnly(new Set(['shed', 'lab']));
    await settle();
    expect([home.closes.length, alice.closes.length, data.closes.length, shed.closes.length]).toEqual([1, 1, 1, 0]);
    expect(alice.closes[0]?.clean).toBe(false);
    expect(waiting.messages).toEqual([NOTICE]);
    expect(known).toEqual([expect.stringMatching(/^shed: /)]);
  });

  it('that announces again and again costs no more than its share', async () => {
    const { exit, add } = setUp();
    const home = exit('home');
    for (let i = 0; i < 100; i++) {
      home.say({ type: 'bearers', keys: Array.from({ length: 50 }, newKey), more: false });
      await settle(2);
    }
    // 8 at first, then 8 in each of the 20 ms that 200 ms have.
    expect(add.mock.calls.length).toBeLessThanOrEqual(88);
  });

  it('leaves its clients known beyond a restart of the relay', async () => {
    const { rendezvous, known, client } = setUp();
    const key = newKey();
    rendezvous.restore('home', [key]);
    await settle();
    expect(known).toEqual([`home: ${key}`]);
    const alice = client('home');
    await settle();
    expect(alice.messages).toEqual([NOTICE]);
  });
});

describe('closing', () => {
  it('ends all links and leaves no timer', async () => {
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
    expect(vi.getTimerCount()).toBe(0);
  });

  it('tells nobody that an exit is absent: it may be well, and reached elsewhere', async () => {
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
    expect(vi.getTimerCount()).toBe(0);
  });

  it('leaves no message behind that a link had taken', async () => {
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
