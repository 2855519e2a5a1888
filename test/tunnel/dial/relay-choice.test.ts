/** Dials of a client whose invite has several relays, in virtual time: which are tried, when, and what is told. */
import { describe, expect, it } from 'vitest';
import { type FaultName, WstunError } from '../../../src/errors.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import type { LinkPurpose, SessionPlace } from '../../../src/tunnel/dial/connectors.ts';
import { RelayChoice } from '../../../src/tunnel/dial/relay-choice.ts';
import { RelayRoutes, type RouteNotice } from '../../../src/tunnel/dial/relay-routes.ts';
import { type DialRoute, RouteChoice } from '../../../src/tunnel/dial/route-choice.ts';
import { RelayList } from '../../../src/tunnel/routes/relay-list.ts';
import { RouteMemory } from '../../../src/tunnel/routes/route-memory.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { never } from '../../support/never.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const [A, B, C] = ['wss://a.test', 'wss://b.test', 'wss://c.test'] as const;

/** What becomes of an attempt, ms after its start: TCP, then a link or a fault. Neither: it hangs. */
interface Fate {
  readonly tcp?: number;
  readonly link?: number;
  readonly fault?: readonly [ms: number, fault: FaultName, detail?: string];
}

const WORKS: Fate = { tcp: 10, link: 50 };
const FROZEN: Fate = { tcp: 10 };
const REFUSES: Fate = { fault: [1, 'relay-unreachable', 'connection refused'] };

class World {
  readonly clock = new VirtualClock();
  /** Which relays were dialled, and when. */
  readonly started: [relay: string, at: number, purpose: LinkPurpose][] = [];
  readonly aborted: string[] = [];
  readonly notices: RouteNotice[] = [];
  readonly relays: RelayList;
  readonly choice: RelayChoice<MessageLink>;
  fates: Readonly<Record<string, Fate>>;
  private beganAt = 0;

  constructor(fates: Readonly<Record<string, Fate>>, { isOneExit = true, memory = memoryOf(undefined) } = {}) {
    const { clock } = this;
    this.fates = fates;
    this.relays = new RelayList(Object.keys(fates));
    const onNotice = (notice: RouteNotice) => this.notices.push(notice);
    const routes = new RelayRoutes({ clock, memory, onNotice, transport: 'websocket' });
    const byRoutes = new RouteChoice(routes, this.attempt);
    this.choice = new RelayChoice({ relays: this.relays, routes, byRoutes, isOneExit, clock });
  }

  private readonly attempt: DialRoute<MessageLink> = (relay, _route, { signal, onConnected }, purpose) => {
    this.started.push([relay, this.clock.now() - this.beganAt, purpose]);
    const { tcp, link, fault } = this.fates[relay] ?? {};
    return new Promise((resolve, reject) => {
      const timers = [
        tcp === undefined ? undefined : this.clock.setTimeout(onConnected, tcp),
        link === undefined ? undefined : this.clock.setTimeout(() => end(() => resolve(memoryLinkPair()[0])), link),
        fault && this.clock.setTimeout(() => end(() => reject(new WstunError(fault[1], fault[2]))), fault[0]),
      ];
      const cancel = (): void => {
        for (const timer of timers) this.clock.clearTimeout(timer);
        this.aborted.push(relay);
        reject(new WstunError('dial-cancelled'));
      };
      const end = (act: () => void): void => {
        signal.removeEventListener('abort', cancel);
        act();
      };
      signal.addEventListener('abort', cancel);
    });
  };

  /** Dials, and says how it ended and after how long, ms. */
  async dial(from?: SessionPlace, purpose?: LinkPurpose): Promise<[outcome: string, afterMs: number]> {
    return await this.outcomeOf((signal) => this.choice.dial(signal, purpose, from));
  }

  async outcomeOf(
    dial: (signal: AbortSignal) => ReturnType<RelayChoice<MessageLink>['dial']>,
  ): Promise<[outcome: string, afterMs: number]> {
    this.started.length = 0;
    this.aborted.length = 0;
    this.beganAt = this.clock.now();
    let outcome: string | undefined;
    dial(never).then(
      ({ link, noteCarried }) => {
        noteCarried?.();
        link.abort();
        outcome = this.started.at(-1)?.[0];
      },
      (error: WstunError) => {
        outcome = error.what;
      },
    );
    await this.clock.advanceUntil(() => outcome !== undefined, 120_000);
    return [outcome ?? '', this.clock.now() - this.beganAt];
  }
}

function memoryOf(content: unknown, onChange?: (content: object) => void): RouteMemory {
  return new RouteMemory({ network: () => 'home', content, ...(onChange && { onChange }) });
}

describe('a dial with several relays', () => {
  it('a relay that works is the only one that is dialled, and nothing is told', async () => {
    const world = new World({ [A]: WORKS, [B]: WORKS });
    for (let i = 0; i < 3; i++) expect(await world.dial()).toEqual([A, 50]);
    expect(world.started).toEqual([[A, 0, 'only']]);
    expect(world.notices).toEqual([]);
  });

  it('a relay that was stopped costs a quarter of a second, and the one that carries is told and tried first then', async () => {
    const world = new World({ [A]: FROZEN, [B]: WORKS });
    expect(await world.dial()).toEqual([B, 300]);
    expect(world.aborted).toEqual([A]);
    expect(world.notices).toEqual([{ type: 'relay', relay: B, failed: [] }]);
    expect(await world.dial()).toEqual([B, 50]);
    expect(world.notices).toHaveLength(1);
  });

  it.each<FaultName>([
    'exit-absent',
    'relay-full',
    'too-often',
    'overloaded',
    'relay-refused',
    'relay-unreachable',
    'shutting-down',
    'keys-rotated',
    'wrong-path',
    'clock-off',
    'link-slow',
  ])('%s at one relay leads to the next one at once', async (fault) => {
    const world = new World({ [A]: { fault: [20, fault] }, [B]: WORKS });
    expect(await world.dial()).toEqual([B, 70]);
    expect(world.notices).toEqual([
      { type: 'relay', relay: B, failed: [{ relay: A, error: expect.objectContaining({ fault }) }] },
    ]);
  });

  it('a machine without free descriptors tries no other relay', async () => {
    const world = new World({ [A]: { fault: [1, 'out-of-descriptors'] }, [B]: WORKS });
    expect((await world.dial())[1]).toBe(1);
    expect(world.started).toHaveLength(1);
  });

  it('what all relays have met is one error', async () => {
    const world = new World({ [A]: REFUSES, [B]: { fault: [5, 'exit-absent'] } });
    expect(await world.dial()).toEqual([
      'the exit of this invite is not connected to the relay: b.test:443; a.test:443: the relay cannot be reached: connection refused',
      6,
    ]);
  });

  it('a relay that says nothing keeps nobody from another attempt at those that have failed, and has longer each time', async () => {
    const world = new World({ [A]: FROZEN, [B]: { fault: [5, 'exit-absent'] } });
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) waits.push((await world.dial())[1]);
    expect(waits).toEqual([3_000, 6_000, 12_000, 24_000, 24_000]);
  });

  it('the relay that carried last is tried first after a restart, too', async () => {
    let content: object | undefined;
    const first = new World(
      { [A]: REFUSES, [B]: REFUSES, [C]: WORKS },
      {
        memory: memoryOf(undefined, (kept) => {
          content = structuredClone(kept);
        }),
      },
    );
    await first.dial();
    const next = new World({ [A]: WORKS, [B]: WORKS, [C]: WORKS }, { memory: memoryOf(content) });
    expect((await next.dial())[0]).toBe(C);
    expect(next.started).toEqual([[C, 0, 'only']]);
  });

  it('the relay whose link carries nothing any more is tried last', async () => {
    const world = new World({ [A]: WORKS, [B]: REFUSES, [C]: WORKS });
    await world.dial();
    expect((await world.dial({ relay: A, isStalled: true }))[0]).toBe(C);
    expect(world.started.map(([relay]) => relay)).toEqual([B, C]);
  });

  it('a further link goes by the relay of the session, without a race', async () => {
    const world = new World({ [A]: WORKS, [B]: WORKS });
    expect(await world.dial({ relay: B, isStalled: false }, 'further')).toEqual([B, 50]);
    expect(world.started).toEqual([[B, 0, 'further']]);
  });

  it('a better relay is one that comes before in the list, and only these are dialled', async () => {
    const world = new World({ [A]: REFUSES, [B]: WORKS, [C]: WORKS });
    expect(world.choice.betterThan(A)).toBeUndefined();
    expect(await world.outcomeOf((signal) => world.choice.betterThan(C)?.dial(signal) ?? nothing())).toEqual([B, 51]);
    world.fates = { [A]: FROZEN, [B]: { fault: [5_000, 'relay-unreachable'] }, [C]: WORKS };
    await world.outcomeOf((signal) => world.choice.betterThan(C)?.dial(signal, 'further') ?? nothing());
    expect(world.started.map(([, , purpose]) => purpose)).toEqual(['further', 'further']);
    expect(world.notices.filter(({ type }) => type === 'trying')).toEqual([]);
    world.fates = { [A]: REFUSES, [B]: REFUSES, [C]: WORKS };
    expect((await world.outcomeOf((signal) => world.choice.betterThan(C)?.dial(signal) ?? nothing()))[0]).toBe(
      'the relay cannot be reached: connection refused',
    );
    expect(world.started.map(([relay]) => relay)).toEqual([A, B]);
  });

  it('a dial that is cancelled cancels the attempts at all relays', async () => {
    const world = new World({ [A]: FROZEN, [B]: FROZEN });
    const abort = new AbortController();
    const dialled = world.choice.dial(abort.signal);
    await world.clock.advance(400);
    abort.abort();
    await expect(dialled).rejects.toMatchObject({ fault: 'dial-cancelled' });
    expect(world.aborted).toEqual([A, B]);
  });

  it('a dial that takes long is told once, for the relay that was dialled first', async () => {
    const world = new World({ [A]: FROZEN, [B]: FROZEN });
    void world.choice.dial(never).catch(() => {});
    await world.clock.advance(5_000);
    expect(world.notices).toEqual([expect.objectContaining({ type: 'trying', relay: A })]);
  });
});

describe('a dial where each relay has an exit of its own', () => {
  it('the relay that has the session is waited for a second', async () => {
    const world = new World({ [A]: WORKS, [B]: WORKS }, { isOneExit: false });
    await world.dial();
    world.fates = { [A]: WORKS, [B]: { tcp: 10, link: 900 } };
    expect((await world.dial({ relay: B, isStalled: true }))[0]).toBe(B);
    expect(world.started.map(([relay]) => relay)).toEqual([B]);
    world.fates = { [A]: WORKS, [B]: FROZEN };
    expect(await world.dial({ relay: B, isStalled: true })).toEqual([A, 1_050]);
  });

  it('a relay whose exit takes no session is tried last', async () => {
    const world = new World({ [A]: WORKS, [B]: WORKS }, { isOneExit: false });
    const [chosen] = await Promise.all([world.choice.dial(never), world.clock.advance(100)]);
    chosen.noteRejected?.();
    expect((await world.dial())[0]).toBe(B);
  });
});

describe('keys that one of several relays has rotated', () => {
  it('they are no reason to end while another relay may serve, and are one after a minute without any', async () => {
    const world = new World({ [A]: { fault: [5, 'keys-rotated'] }, [B]: REFUSES });
    expect((await world.dial())[0]).toMatch(/^the relay cannot be reached: .*older than the keys/);
    await world.clock.advance(60_000);
    expect((await world.dial())[0]).toMatch(/^this invite is older than the keys/);
    world.fates = { [A]: { fault: [5, 'keys-rotated'] }, [B]: WORKS };
    expect((await world.dial())[0]).toBe(B);
  });
});

function nothing(): never {
  throw new Error('there is no better relay');
}
