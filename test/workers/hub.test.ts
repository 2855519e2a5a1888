import { describe, expect, it } from 'vitest';
import { Channel } from '../../src/workers/channel.ts';
import { Hub } from '../../src/workers/hub.ts';
import type { Envelope, Note, QuestionName, Questions } from '../../src/workers/messages.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

/** A worker's end of its channel, which only writes down what it hears. */
class Heard {
  readonly notes: Note[] = [];
  readonly calls: string[] = [];
  readonly challenges: string[] = [];
  /** Sessions of this worker that may be ended for others. */
  readonly detached: string[] = [];
  /** Of this worker, before it says that it answers for a challenge. */
  delay: Promise<void> = Promise.resolve();
  readonly channel: Channel;
  private readonly toHub: (envelope: Envelope) => void;

  constructor(
    readonly hub: Hub,
    readonly id: string,
    clock: VirtualClock,
  ) {
    this.toHub = hub.add(id, (envelope) => queueMicrotask(() => this.channel.receive(envelope)));
    const handler = {
      handleNote: (note: Note) => void this.notes.push(note),
      handleQuestion: <Name extends QuestionName>(name: Name, ask: Questions[Name]['ask']) => {
        if (name === 'room') return this.makeRoom() as Promise<Questions[Name]['answer']>;
        if (name === 'challenge') return this.take(ask as Questions['challenge']['ask']);
        if (name !== 'call') return undefined;
        this.calls.push((ask as Questions['call']['ask']).token);
        return Promise.resolve('called') as Promise<Questions[Name]['answer']>;
      },
    };
    this.channel = new Channel((envelope) => queueMicrotask(() => this.toHub(envelope)), handler, clock);
    this.channel.note({ note: 'started' });
  }

  private async makeRoom(): Promise<boolean> {
    const session = this.detached.shift();
    if (session !== undefined) this.channel.note({ note: 'over', session });
    return session !== undefined;
  }

  private async take({ name, pair }: Questions['challenge']['ask']): Promise<true> {
    this.challenges.push(`${name} ${pair.cert} ${pair.key}`);
    await this.delay;
    return true;
  }

  of<Name extends Note['note']>(name: Name): Extract<Note, { readonly note: Name }>[] {
    return this.notes.filter((note): note is Extract<Note, { readonly note: Name }> => note.note === name);
  }
}

function setUp() {
  const clock = new VirtualClock();
  const hub = new Hub({ onReady: () => {} }, clock);
  const [one, two] = [new Heard(hub, '0001', clock), new Heard(hub, '0101', clock)];
  return { clock, hub, one, two, settle: () => clock.advance(1) };
}

const CHALLENGE = { name: 'relay.example.org', pair: { cert: 'c', key: 'k' } };
const OVER = { note: 'challenge-over', name: CHALLENGE.name } as const;
const TOLD = ['relay.example.org c k'];

const PEER = { peer: 'alice', most: 2, together: false };

describe('the hub of workers', () => {
  it('a worker that starts hears who is there, which exits there are, and what they announced', async () => {
    const { clock, hub, one, settle } = setUp();
    one.channel.note({ note: 'exit', exit: 'home', worker: '0001' });
    one.channel.note({ note: 'keys', exit: 'home', keys: ['k'] });
    await settle();
    const three = new Heard(hub, '0201', clock);
    await settle();
    expect(three.of('exit')).toEqual([{ note: 'exit', exit: 'home', worker: '0001' }]);
    expect(three.of('keys')).toEqual([{ note: 'keys', exit: 'home', keys: ['k'] }]);
    expect(three.of('workers').at(-1)?.workers).toEqual(['0001', '0101', '0201']);
  });

  it('a call goes to the worker that has the exit, and is absent at once where none has it', async () => {
    const { one, two, settle } = setUp();
    expect(await one.channel.ask('call', { exit: 'home', token: 'a' })).toBe('absent');
    two.channel.note({ note: 'exit', exit: 'home', worker: '0101' });
    await settle();
    expect(await one.channel.ask('call', { exit: 'home', token: 'b' })).toBe('called');
    expect(two.calls).toEqual(['b']);
  });

  it('a call for the exit of a worker that died waits until it registers again, for 3 s at most', async () => {
    const { clock, hub, one, two, settle } = setUp();
    two.channel.note({ note: 'exit', exit: 'home', worker: '0101' });
    await settle();
    hub.remove('0101');
    const outcomes: unknown[] = [];
    void one.channel.ask('call', { exit: 'home', token: 'a' }).then((outcome) => outcomes.push(outcome));
    await clock.advance(2_900);
    expect(outcomes).toEqual([]);
    one.channel.note({ note: 'exit', exit: 'home', worker: '0001' });
    await settle();
    expect(outcomes).toEqual(['called']);
    hub.remove('0001');
    const three = new Heard(hub, '0002', clock);
    void three.channel.ask('call', { exit: 'home', token: 'b' }).then((outcome) => outcomes.push(outcome));
    await clock.advance(3_100);
    expect(outcomes).toEqual(['called', 'absent']);
  });

  it('a call to a worker that answers nothing is unreachable after 5 s', async () => {
    const { clock, hub, one, settle } = setUp();
    const receive = hub.add('0201', () => {});
    receive({ note: 'exit', exit: 'home', worker: '0201' });
    await settle();
    const asked = one.channel.ask('call', { exit: 'home', token: 'a' }, 9_000);
    await clock.advance(5_100);
    expect(await asked).toBe('unreachable');
  });

  it('a call that was on its way to a worker that died goes to the exit when it has returned', async () => {
    const { clock, hub, one, settle } = setUp();
    const receive = hub.add('0201', () => {});
    receive({ note: 'exit', exit: 'home', worker: '0201' });
    const outcomes: unknown[] = [];
    void one.channel.ask('call', { exit: 'home', token: 'a' }).then((outcome) => outcomes.push(outcome));
    await settle();
    hub.remove('0201');
    await clock.advance(500);
    expect(outcomes).toEqual([]);
    one.channel.note({ note: 'exit', exit: 'home', worker: '0001' });
    await settle();
    expect([outcomes, one.calls]).toEqual([['called'], ['a']]);
  });

  it('what a worker said before it died has no effect if it comes after its end was noticed', async () => {
    const { hub, one, two, settle } = setUp();
    const receive = hub.add('0201', () => {});
    hub.remove('0201');
    one.channel.note({ note: 'exit', exit: 'home', worker: '0001' });
    await settle();
    receive({ note: 'exit', exit: 'home', worker: '0201' });
    receive({ asks: 'place', id: 1, ask: { session: 'a', ...PEER } });
    await settle();
    expect(one.of('replaced')).toEqual([]);
    expect(two.of('exit').at(-1)?.worker).toBe('0001');
    expect(await two.channel.ask('find', { session: 'a' })).toBeUndefined();
  });

  it('a newer exit of a name replaces the one at another worker', async () => {
    const { one, two, settle } = setUp();
    one.channel.note({ note: 'exit', exit: 'home', worker: '0001' });
    await settle();
    two.channel.note({ note: 'exit', exit: 'home', worker: '0101' });
    await settle();
    expect(one.of('replaced')).toEqual([{ note: 'replaced', exit: 'home' }]);
    // What it withdraws now is not there any more.
    one.channel.note({ note: 'exit', exit: 'home', worker: undefined });
    await settle();
    expect(one.of('exit').at(-1)?.worker).toBe('0101');
  });

  it('a ticket can be used once, whichever workers ask', async () => {
    const { one, two } = setUp();
    const nonce = 'ab'.repeat(24);
    const answers = await Promise.all([one, two, one].map(({ channel }) => channel.ask('claim', { nonce })));
    expect(answers.filter((isFirst) => isFirst)).toHaveLength(1);
    expect(await two.channel.ask('claim', { nonce: 'cd'.repeat(24) })).toBe(true);
  });

  it('a peer has no more sessions in all workers together than it may have', async () => {
    const { hub, one, two, settle } = setUp();
    expect(await one.channel.ask('place', { session: 'a', ...PEER })).toBe('here');
    expect(await two.channel.ask('place', { session: 'b', ...PEER })).toBe('here');
    expect(await two.channel.ask('place', { session: 'c', ...PEER })).toBe('too-many-sessions');
    one.channel.note({ note: 'over', session: 'a' });
    await settle();
    expect(await two.channel.ask('place', { session: 'c', ...PEER })).toBe('here');
    // Those of a worker that died are over.
    hub.remove('0101');
    expect(await one.channel.ask('place', { session: 'd', ...PEER })).toBe('here');
  });

  it('a session without a link makes room for a new one of its peer at another worker', async () => {
    const { one, two } = setUp();
    for (const session of ['a', 'b']) await one.channel.ask('place', { session, ...PEER });
    expect(await two.channel.ask('place', { session: 'c', ...PEER })).toBe('too-many-sessions');
    one.detached.push('a');
    expect(await two.channel.ask('place', { session: 'c', ...PEER })).toBe('here');
    expect(await two.channel.ask('place', { session: 'd', ...PEER })).toBe('too-many-sessions');
  });

  it('sessions of a peer that share a rate are all in one worker', async () => {
    const { one, two } = setUp();
    const together = { ...PEER, most: 8, together: true };
    expect(await one.channel.ask('place', { session: 'a', ...together })).toBe('here');
    expect(await two.channel.ask('place', { session: 'b', ...together })).toBe('0001');
    expect(await one.channel.ask('place', { session: 'b', ...together })).toBe('here');
    expect(await two.channel.ask('place', { session: 'c', ...together, peer: 'bob' })).toBe('here');
  });

  it('a session is found wherever it is, until it is over', async () => {
    const { one, two, settle } = setUp();
    await one.channel.ask('place', { session: 'a', ...PEER });
    expect(await two.channel.ask('find', { session: 'a' })).toBe('0001');
    one.channel.note({ note: 'over', session: 'a' });
    await settle();
    expect(await two.channel.ask('find', { session: 'a' })).toBeUndefined();
  });

  it('each worker hears how many links the others have, also after one has died', async () => {
    const { hub, one, two, settle } = setUp();
    one.channel.note({ note: 'load', load: { links: 5, failures: { '192.0.2.1': 3 }, cleared: [] } });
    await settle();
    expect(two.of('load').at(-1)?.load).toEqual({ links: 5, failures: { '192.0.2.1': 3 }, cleared: [] });
    two.channel.note({ note: 'load', load: { links: 7, failures: {}, cleared: [] } });
    await settle();
    expect(one.of('load').at(-1)?.load.links).toBe(7);
    hub.remove('0101');
    await settle();
    expect(one.of('load').at(-1)?.load.links).toBe(0);
  });

  it('a challenge is open when all other workers answer for it, and each hears when it is over', async () => {
    const { clock, hub, one, two, settle } = setUp();
    const three = new Heard(hub, '0201', clock);
    let go = (): void => {};
    three.delay = new Promise((resolve) => {
      go = resolve;
    });
    await settle();
    let isOpen = false;
    void one.channel.ask('challenge', CHALLENGE).then((answer) => {
      isOpen = answer === true;
    });
    await settle();
    expect([one.challenges, two.challenges, three.challenges, isOpen]).toEqual([[], TOLD, TOLD, false]);
    go();
    await settle();
    expect(isOpen).toBe(true);
    // Only the worker that has opened it ends it.
    two.channel.note(OVER);
    await settle();
    expect(three.of('challenge-over')).toEqual([]);
    one.channel.note(OVER);
    await settle();
    expect([two, three].map((each) => each.of('challenge-over'))).toEqual([[OVER], [OVER]]);
  });

  it('a worker that starts while a challenge is open hears of it, and one that starts later does not', async () => {
    const { clock, hub, one, settle } = setUp();
    expect(await one.channel.ask('challenge', CHALLENGE)).toBe(true);
    const three = new Heard(hub, '0201', clock);
    await settle();
    expect(three.challenges).toEqual(TOLD);
    one.channel.note(OVER);
    await settle();
    const four = new Heard(hub, '0301', clock);
    await settle();
    expect([four.challenges, four.of('challenge-over')]).toEqual([[], []]);
  });

  it('the challenges of a worker that died are over', async () => {
    const { clock, hub, one, two, settle } = setUp();
    await one.channel.ask('challenge', CHALLENGE);
    hub.remove('0001');
    await settle();
    expect(two.of('challenge-over')).toEqual([OVER]);
    const again = new Heard(hub, '0002', clock);
    await settle();
    expect(again.challenges).toEqual([]);
  });

  it('a worker that answers nothing holds a challenge for 5 s at most, and one that dies holds it no longer', async () => {
    const { clock, hub, one, two, settle } = setUp();
    two.delay = new Promise(() => {});
    await settle();
    const answers: unknown[] = [];
    const ask = () => void one.channel.ask('challenge', CHALLENGE, 9_000).then((answer) => answers.push(answer));
    ask();
    await clock.advance(4_900);
    expect(answers).toEqual([]);
    await clock.advance(200);
    expect(answers).toEqual([true]);
    ask();
    await settle();
    hub.remove('0101');
    await settle();
    expect(answers).toEqual([true, true]);
  });
});
