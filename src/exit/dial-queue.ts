/**
 * Decides which offer is dialled, or looked up, next, and which dial is evicted. Pure: a state machine with time passed
 * in.
 *
 * Targets that never answer hold a slot for as long as a dial may take, and a program that keeps trying them would take
 * every slot. So the order goes by destination (destinations.ts): first those that answered lately, then those not
 * tried yet, the newest first, then those that were silent, the least tried first. Each kind has a share that it cannot
 * exceed, and the latter two start no faster than slots become free, so that there is usually one for the next offer.
 * If there is none, a dial that has hung for seconds is evicted. Peers have equal rights: the last quarter of all slots
 * is for those that have few.
 */
import { TokenBucket } from '../limits/token-bucket.ts';
import { type Destination, DestinationMemory, type Prospect } from './destinations.ts';

export interface QueueLimits {
  readonly pendingPerPeer: number;
  readonly pendingTotal: number;
}

/** One offer, waiting or under way. */
export interface Entry {
  readonly peer: string;
  readonly destinations: readonly Destination[];
  readonly group: string;
  state: 'waiting' | 'started' | 'evicted' | 'over';
  /** Its kind when it arrived, and from its start on the kind as which it started. */
  kind: Prospect['kind'];
  tries: number;
  /** Of a started one, ms. */
  startedAt: number;
}

export interface Decisions {
  /** These have a slot now. */
  readonly started: readonly Entry[];
  /** These must end at once; `end` follows when they have. */
  readonly evicted: readonly Entry[];
}

/** A dial that hung for so long counts as silent, ms. Few hosts need longer: those whose radio must wake first. */
const SILENT_MS = 1_000;
/** A slow host that is alive has answered by then, ms. */
const HOPELESS_MS = 3_000;
/** So many of those not tried yet are compared, the newest: it bounds the work; the others get their turn later. */
const COMPARED = 64;
/** Peers without a dial whose memory of destinations is kept; each at most 0.8 MB. */
const MAX_IDLE_PEERS = 32;

type Line = 'good' | 'untried' | 'tried';

/** Those that wait for the same destination, in the order in which they came. */
interface Group {
  readonly key: string;
  readonly destinations: readonly Destination[];
  readonly waiting: Set<Entry>;
  /** As of the last look; a change by its own destinations is seen at once. */
  prospect: Prospect;
}

/** By their keys, the latest last. */
type Groups = Map<string, Group>;

interface PeerState {
  readonly memory: DestinationMemory;
  /** Three queues, each group in that of its prospect: thousands may wait, and only a few are looked at each time. */
  readonly lines: Readonly<Record<Line, Groups>>;
  /** Started, until their end. */
  readonly started: Set<Entry>;
  readonly startedOf: Map<string, number>;
  readonly counts: Record<Prospect['kind'], number>;
  /** Evicted ones that have not ended yet. */
  leaving: number;
  readonly untried: TokenBucket;
  readonly tried: TokenBucket;
}

/** `wait`: until another dial ends, or time passes. `full`: one of these kinds could be evicted. */
type Room =
  | { readonly kind: 'free' }
  | { readonly kind: 'wait' }
  | { readonly kind: 'full'; readonly kinds: readonly Prospect['kind'][]; readonly ofAll: boolean };

export class DialQueue {
  private readonly peers = new Map<string, PeerState>();
  private total = 0;
  private waitingCount = 0;

  constructor(private readonly limits: QueueLimits) {}

  /** Slots taken. */
  get taken(): number {
    return this.total;
  }

  get waiting(): number {
    return this.waitingCount;
  }

  /** A new offer: it gets a slot at once, or waits. */
  ask(peer: string, destinations: readonly Destination[], now: number): { entry: Entry; decisions: Decisions } {
    const state = this.stateOf(peer, now);
    const key = destinations.map(({ exact }) => exact).join();
    const entry: Entry = { peer, destinations, group: key, state: 'waiting', kind: 'fresh', tries: 0, startedAt: 0 };
    const group = groupOf(state, key) ?? newGroup(state, key, destinations, now);
    entry.tries = triesOf(group.prospect);
    group.waiting.add(entry);
    this.waitingCount++;
    // Those that waited before could not start either.
    return { entry, decisions: this.advanceGroup(state, group, now) };
  }

  /** Time has passed, or slots have become free. */
  advance(now: number): Decisions {
    const started: Entry[] = [];
    const evicted: Entry[] = [];
    const inNeed = [...this.peers.values()].filter(hasWaiting);
    // The peer with the fewest slots is first to get more.
    for (const state of inNeed.toSorted((a, b) => a.started.size - b.started.size)) {
      const decisions = this.advancePeer(state, now);
      started.push(...decisions.started);
      evicted.push(...decisions.evicted);
    }
    return { started, evicted };
  }

  /** A waiting offer is given up: by its program, or (`refused`) because it waited too long. */
  leave(entry: Entry, refused: boolean, now: number): void {
    const state = this.peers.get(entry.peer);
    if (state === undefined || entry.state !== 'waiting') return;
    entry.state = 'over';
    if (refused) state.memory.noteRefusal(entry.destinations, now);
    this.unqueue(state, entry);
    lookAgain(state, entry.group, now);
    this.forgetIdle();
  }

  /** Nothing is left of a started offer: others of its peer may start, those of other peers with `advance`. */
  end(entry: Entry, answered: boolean, now: number): Decisions {
    const state = this.peers.get(entry.peer);
    if (state === undefined || (entry.state !== 'started' && entry.state !== 'evicted')) return NOTHING;
    const age = now - entry.startedAt;
    if (answered) state.memory.noteAnswer(entry.destinations, now);
    else if (age >= SILENT_MS || entry.state === 'evicted') state.memory.noteSilence(entry.destinations, now);
    if (entry.state === 'evicted') state.leaving--;
    else if (age < SILENT_MS && entry.kind !== 'good') budgetOf(state, entry.tries).release();
    entry.state = 'over';
    state.started.delete(entry);
    state.counts[entry.kind]--;
    subtractOne(state.startedOf, entry.group);
    this.total--;
    lookAgain(state, entry.group, now);
    this.forgetIdle();
    return hasWaiting(state) ? this.advancePeer(state, now) : NOTHING;
  }

  private advancePeer(state: PeerState, now: number): Decisions {
    const started: Entry[] = [];
    for (const group of inTurn(state, now)) {
      const decisions = this.advanceGroup(state, group, now);
      started.push(...decisions.started);
      // One at a time: its slot has to become free first.
      if (decisions.evicted.length > 0) return { started, evicted: decisions.evicted };
    }
    return { started, evicted: [] };
  }

  private advanceGroup(state: PeerState, group: Group, now: number): Decisions {
    lookAgain(state, group.key, now);
    const { key, prospect } = group;
    const started: Entry[] = [];
    for (const entry of group.waiting) {
      const room = this.roomFor(state, key, prospect, now);
      if (room.kind === 'free') {
        this.start(state, entry, prospect, now);
        started.push(entry);
        continue;
      }
      const victim = room.kind === 'full' && isUntried(prospect) ? this.victimFor(state, room, now) : undefined;
      return { started, evicted: victim === undefined ? [] : [victim] };
    }
    return { started, evicted: [] };
  }

  private roomFor(state: PeerState, group: string, prospect: Prospect, now: number): Room {
    const { pendingPerPeer: most } = this.limits;
    const { counts } = state;
    const isGood = prospect.kind === 'good';
    if (!isGood && (state.startedOf.get(group) ?? 0) >= Math.max(8, most >> 3)) return WAIT;
    if (!isGood && budgetOf(state, triesOf(prospect)).isEmpty(now)) return WAIT;
    const full = (kinds: readonly Prospect['kind'][], ofAll = false): Room => ({ kind: 'full', kinds, ofAll });
    if (prospect.kind === 'doubtful' && counts.doubtful >= doubtfulShareOf(most)) return full(['doubtful']);
    if (isGood && counts.good >= shareOf(most)) return full(['good']);
    if (!isGood && counts.fresh + counts.doubtful >= shareOf(most)) return full(['fresh', 'doubtful']);
    if (state.started.size >= most) return full(ALL_KINDS);
    return this.hasRoomInAll(state) ? FREE : full(ALL_KINDS, true);
  }

  private hasRoomInAll({ started }: PeerState): boolean {
    const { pendingTotal } = this.limits;
    if (this.total >= pendingTotal) return false;
    return this.total < shareOf(pendingTotal) || started.size < Math.max(1, pendingTotal >> 6);
  }

  private start(state: PeerState, entry: Entry, prospect: Prospect, now: number): void {
    this.unqueue(state, entry);
    entry.state = 'started';
    entry.kind = prospect.kind;
    entry.tries = triesOf(prospect);
    entry.startedAt = now;
    if (entry.kind !== 'good') budgetOf(state, entry.tries).spend(now);
    state.started.add(entry);
    state.counts[entry.kind]++;
    state.startedOf.set(entry.group, (state.startedOf.get(entry.group) ?? 0) + 1);
    this.total++;
  }

  /** The least promising dial: of its own peer, or, if all slots are taken, of the peer with most. Or none. */
  private victimFor(state: PeerState, room: Extract<Room, { kind: 'full' }>, now: number): Entry | undefined {
    const from = room.ofAll ? this.largest() : state;
    if (from === undefined || from.leaving > 0) return undefined;
    if (from !== state && from.started.size <= state.started.size + 1) return undefined;
    let victim: Entry | undefined;
    for (const entry of from.started) {
      if (!room.kinds.includes(entry.kind) || !mayGiveWay(entry, now)) continue;
      // The oldest comes first.
      if (victim === undefined || entry.tries > victim.tries) victim = entry;
    }
    if (victim === undefined) return undefined;
    victim.state = 'evicted';
    from.leaving++;
    return victim;
  }

  private largest(): PeerState | undefined {
    let largest: PeerState | undefined;
    for (const state of this.peers.values()) {
      if (largest === undefined || state.started.size > largest.started.size) largest = state;
    }
    return largest;
  }

  private unqueue(state: PeerState, entry: Entry): void {
    const group = groupOf(state, entry.group);
    if (!group?.waiting.delete(entry)) return;
    this.waitingCount--;
    if (group.waiting.size === 0) state.lines[lineOf(group.prospect)].delete(group.key);
  }

  /** Moves it to the end: a Map keeps the order of insertion, and the latest is forgotten last. */
  private stateOf(peer: string, now: number): PeerState {
    const state = this.peers.get(peer) ?? newPeer(this.limits.pendingPerPeer, now);
    this.peers.delete(peer);
    this.peers.set(peer, state);
    return state;
  }

  private forgetIdle(): void {
    let excess = this.peers.size - MAX_IDLE_PEERS;
    for (const [peer, state] of this.peers) {
      if (excess-- <= 0) return;
      if (state.started.size === 0 && !hasWaiting(state)) this.peers.delete(peer);
    }
  }
}

const NOTHING: Decisions = { started: [], evicted: [] };
const FREE: Room = { kind: 'free' };
const WAIT: Room = { kind: 'wait' };
const ALL_KINDS: readonly Prospect['kind'][] = ['good', 'fresh', 'doubtful'];

/** Three quarters: the rest is for the others. */
function shareOf(most: number): number {
  return most - (most >> 2);
}

/** A quarter. */
function doubtfulShareOf(most: number): number {
  return Math.max(1, most >> 2);
}

function newPeer(most: number, now: number): PeerState {
  const burst = Math.min(most, Math.max(8, most >> 2));
  // The share lasts from the burst until its first dials may be evicted.
  const perSecond = (1000 * (shareOf(most) - burst)) / (HOPELESS_MS * 1.05);
  return {
    memory: new DestinationMemory(),
    lines: { good: new Map(), untried: new Map(), tried: new Map() },
    started: new Set(),
    startedOf: new Map(),
    counts: { good: 0, fresh: 0, doubtful: 0 },
    leaving: 0,
    untried: new TokenBucket({ burst, perSecond: Math.max(perSecond, 1000 / HOPELESS_MS) }, now),
    // With ten seconds each, their share is used evenly: one of them is always old enough to be evicted.
    tried: new TokenBucket({ burst: Math.max(1, burst >> 3), perSecond: doubtfulShareOf(most) / 10 }, now),
  };
}

function budgetOf({ untried, tried }: PeerState, tries: number): TokenBucket {
  return tries === 0 ? untried : tried;
}

function triesOf(prospect: Prospect): number {
  return prospect.kind === 'doubtful' ? prospect.tries : 0;
}

function isUntried(prospect: Prospect): boolean {
  return triesOf(prospect) === 0;
}

function lineOf(prospect: Prospect): Line {
  if (prospect.kind === 'good') return 'good';
  return isUntried(prospect) ? 'untried' : 'tried';
}

function groupOf({ lines }: PeerState, key: string): Group | undefined {
  return lines.good.get(key) ?? lines.untried.get(key) ?? lines.tried.get(key);
}

function hasWaiting({ lines }: PeerState): boolean {
  return lines.good.size + lines.untried.size + lines.tried.size > 0;
}

function newGroup(state: PeerState, key: string, destinations: readonly Destination[], now: number): Group {
  const prospect = state.memory.prospectOf(destinations, now);
  const group = { key, destinations, waiting: new Set<Entry>(), prospect };
  state.lines[lineOf(prospect)].set(key, group);
  return group;
}

/** What is known about a group's destinations may have changed, and so its queue. */
function lookAgain(state: PeerState, key: string, now: number): void {
  const group = groupOf(state, key);
  if (group === undefined) return;
  const before = lineOf(group.prospect);
  group.prospect = state.memory.prospectOf(group.destinations, now);
  const after = lineOf(group.prospect);
  if (before === after) return;
  state.lines[before].delete(key);
  state.lines[after].set(key, group);
}

/** Those that may start now, best first. */
function inTurn({ lines, untried, tried }: PeerState, now: number): Group[] {
  const newest = untried.isEmpty(now) ? [] : [...lines.untried.values()].slice(-COMPARED).toReversed();
  const byTries = tried.isEmpty(now) ? [] : [...lines.tried.values()];
  return [
    ...lines.good.values(),
    // One that answers would have to wait for a thousand that never do: so the newest is first.
    ...newest.toSorted((a, b) => Number(a.prospect.kind !== 'fresh') - Number(b.prospect.kind !== 'fresh')),
    ...byTries.toSorted((a, b) => triesOf(a.prospect) - triesOf(b.prospect)).slice(0, COMPARED),
  ];
}

function mayGiveWay(entry: Entry, now: number): boolean {
  return entry.state === 'started' && now - entry.startedAt >= (entry.tries > 0 ? SILENT_MS : HOPELESS_MS);
}

function subtractOne(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 0) - 1;
  if (left > 0) counts.set(key, left);
  else counts.delete(key);
}
