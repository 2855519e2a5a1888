/** Random schedules of a session over several links: the same seed gives the same run. */
import { DEFAULT_MUX_CONFIG, type MuxConfig } from '../../../../src/mux/config.ts';
import { DEFAULT_RESUME_CONFIG } from '../../../../src/mux/links/resume-config.ts';
import { type Prng, prng } from '../../prng.ts';
import { kept } from '../mux-internals.ts';
import type { Side } from '../mux-rig.ts';
import { heldBytes } from './link-internals.ts';
import { LinkWorld, type WorldSettings } from './link-world.ts';
import type { EndSettings, LinkedEnd } from './linked-end.ts';
import type { WayConfig } from './one-way.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Beyond what is kept: a record, and those that keep links open. */
const REORDER_ROOM_BYTES = 128 * KIB;
/** From the last fault until everything has ended, ms: an answer that does not come is awaited for 10 s. */
const FINISH_MS = 45_000;
/** Until links that are wanted have come, and those that are not have gone, ms. */
const SETTLE_MS = 5_000;
const IDLE_MS = 40_000;
const ATTEND_MS = 20;
const DATAGRAM_SEEDS = 7_000_000;

/** Which links there are. */
export type Conditions = 'clean' | 'lossy' | 'faulty';

interface Plan {
  readonly conditions: Conditions;
  /** Which end offers no several links. */
  readonly withoutLinks: Side | undefined;
  readonly activeMs: number;
  readonly operations: number;
  readonly faults: number;
  /** Chance that streams are read at each look. */
  readonly reads: number;
  /** What may still be written, bytes. */
  budget: number;
}

export interface Outcome {
  readonly seed: number;
  readonly plan: Plan;
  /** From the last fault until everything had ended, ms. */
  readonly finishedMs: number;
  readonly sentBytes: number;
  readonly newBytes: number;
  readonly placedRecords: number;
  readonly idleMessages: number;
  readonly counts: ReadonlyMap<string, number>;
}

/** From `least` to `most`, each magnitude as likely. */
function magnitude(random: Prng, least: number, most: number): number {
  return least * (most / least) ** (random.below(10_000) / 10_000);
}

function planOf(random: Prng): Plan {
  const conditions = random.pick<Conditions>(['clean', 'lossy', 'faulty', 'faulty', 'faulty', 'faulty']);
  return {
    conditions,
    withoutLinks: random.chance(0.1) ? random.pick<Side>(['client', 'exit']) : undefined,
    activeMs: Math.round(magnitude(random, 500, 12_000)),
    operations: 10 + random.below(120),
    faults: conditions === 'faulty' ? 1 + random.below(16) : 0,
    reads: random.pick([1, 1, 0.5, 0.05]),
    budget: Math.round(magnitude(random, 20 * KIB, 800 * KIB)),
  };
}

function settingsOf(random: Prng, plan: Plan): WorldSettings {
  const retransmitBytes = random.pick([64 * KIB, 256 * KIB, MIB]);
  const resume = {
    ...DEFAULT_RESUME_CONFIG,
    retransmitBytes,
    minRetransmitBytes: Math.min(retransmitBytes, random.pick([16 * KIB, 256 * KIB])),
    reorderBytes: retransmitBytes + REORDER_ROOM_BYTES,
    congestion: { ...DEFAULT_RESUME_CONFIG.congestion, maxInFlightBytes: retransmitBytes },
  };
  const mux: Omit<MuxConfig, 'role'> = {
    ...DEFAULT_MUX_CONFIG,
    resetWaitMs: Number.MAX_SAFE_INTEGER,
    initialWindowBytes: random.pick([16 * KIB, 256 * KIB]),
    maxDataBytes: random.pick([2 * KIB, 48 * KIB]),
  };
  const usualMs = random.pick([0, 0.1, 1]);
  // An event loop is busy from time to time.
  const busyMs = random.pick([0, 20, 200]);
  const turnMs = () => (random.chance(0.01) ? random.below(busyMs + 1) : usualMs);
  const most = 1 + random.below(8);
  const settings = (role: Side): EndSettings => {
    const maxLinks = plan.withoutLinks === role ? 1 : Math.max(2, random.chance(0.3) ? most : 8);
    const memoryBytes = random.chance(0.1) ? 20 * KIB : 64 * MIB;
    return { mux: { ...mux, role, maxLinks }, resume, memoryBytes, turnMs };
  };
  return {
    client: settings('client'),
    exit: settings('exit'),
    way: waysOf(random, plan),
    isFaulty: plan.conditions === 'faulty',
    firstWanted: 1 + random.below(8),
  };
}

function waysOf(random: Prng, { conditions }: Plan): () => WayConfig {
  // Links of one session are alike, or each is different.
  const areAlike = random.chance(0.5);
  const rate = magnitude(random, 100, 20_000);
  const delayMs = magnitude(random, 0.2, 150);
  const loss = conditions === 'clean' ? 0 : random.pick([0, 0.001, 0.01, 0.05]);
  const fullBytes = magnitude(random, 4 * KIB, 512 * KIB);
  return () => ({
    rate: areAlike ? rate : magnitude(random, 100, 20_000),
    delayMs: areAlike ? delayMs : magnitude(random, 0.2, 150),
    fullBytes,
    loss,
  });
}

class Schedule {
  private readonly random: Prng;
  private readonly plan: Plan;
  private readonly world: LinkWorld;
  private isSettling = false;

  constructor(private readonly seed: number) {
    this.random = prng(seed);
    this.plan = planOf(this.random);
    this.world = new LinkWorld(settingsOf(this.random, this.plan), this.random);
  }

  run(): Outcome {
    const { plan, world, random } = this;
    const { time } = world;
    for (let i = 0; i < plan.operations; i++) time.at(random.below(plan.activeMs), () => this.operate());
    for (let i = 0; i < plan.faults; i++) time.at(random.below(plan.activeMs), () => this.breakSomething());
    for (let i = 0; i < 4; i++) time.at(random.below(plan.activeMs), () => world.want(1 + random.below(8)));
    this.planDatagrams();
    this.attend();
    time.run(plan.activeMs);
    world.endFaults();
    this.isSettling = true;
    time.run(plan.activeMs + FINISH_MS, () => this.isFinished);
    if (!this.isFinished) throw new Error(`broken: not finished after ${FINISH_MS} ms: ${this.describe()}`);
    const finishedMs = time.now - plan.activeMs;
    for (const end of world.ends) this.checkEnd(end.side);
    return { ...this.totals(), seed: this.seed, plan, finishedMs, idleMessages: this.idle(), counts: this.allCounts() };
  }

  private totals(): Pick<Outcome, 'sentBytes' | 'newBytes' | 'placedRecords'> {
    const sum = (ofEnd: (side: Side) => number) => ofEnd('client') + ofEnd('exit');
    const { world } = this;
    return {
      sentBytes: sum((side) => world[side].sentBytes),
      newBytes: sum((side) => world[side].newBytes),
      placedRecords: sum((side) => world[side].placedRecords),
    };
  }

  private allCounts(): ReadonlyMap<string, number> {
    const { world } = this;
    const all = new Map(world.counts);
    for (const { counts } of world.ends)
      for (const [what, count] of counts) all.set(what, (all.get(what) ?? 0) + count);
    return all;
  }

  /** In half of the schedules. They have numbers of their own, so that all else is as without them. */
  private planDatagrams(): void {
    const random = prng(this.seed + DATAGRAM_SEEDS);
    const { world, plan } = this;
    if (random.chance(0.5)) return;
    for (let i = 0; i < 3; i++) world.time.at(random.below(plan.activeMs), () => world.client.associate());
    for (let i = random.below(80); i > 0; i--) {
      const [index, count, bytes] = [random.below(8), 1 + random.below(10), 4 + random.below(random.pick([60, 1_400]))];
      const end = random.pick(world.ends);
      // As calls and games do; some at once.
      const everyMs = random.pick([0, 20]);
      const at = random.below(plan.activeMs);
      for (let nth = 0; nth < count; nth++)
        world.time.at(at + nth * everyMs, () => this.call(end, () => end.sendDatagram(index, bytes)));
    }
  }

  // ── programs ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private operate(): void {
    const { random, world, plan } = this;
    const end = random.pick(world.ends);
    const index = random.below(8);
    const kind = random.below(100);
    if (kind < 20) world.client.open();
    else if (kind < 80) this.write(end.side, index);
    else if (kind < 88) end.finish(index);
    else if (kind < 92) end.reset(index);
    else if (kind < 93) world.exit.refuse(index);
    else if (kind < 94) end.session.wantLinks(1 + random.below(8), 0);
    else if (kind < 95 && this.mayDrain) end.session.drain();
    else if (plan.conditions === 'faulty' && kind < 97) world.doubt();
    end.planTurn();
    world.client.planTurn();
  }

  private write(side: Side, index: number): void {
    const { random, plan } = this;
    const most = random.pick([100, 100, 4 * KIB, 64 * KIB]);
    const bytes = Math.min(plan.budget, 1 + random.below(most));
    if (bytes === 0) return;
    plan.budget -= bytes;
    this.world[side].write(index, bytes);
  }

  /** Looks at both ends: offers are answered, and what came is read. */
  private attend(): void {
    const { random, world, plan, isSettling } = this;
    const { exit } = world;
    while (exit.pick(0, ({ phase }) => phase === 'offered')) this.call(exit, () => exit.accept(0));
    for (const end of world.ends) {
      if (isSettling || random.chance(plan.reads))
        while (end.pick(0, ({ unconsumed }) => unconsumed > 0))
          this.call(end, () => end.consume(0, Number.POSITIVE_INFINITY));
      if (isSettling)
        while (end.pick(0, ({ phase, finished }) => phase === 'open' && !finished)) this.call(end, () => end.finish(0));
    }
    if (!this.isFinished) world.time.after(ATTEND_MS, () => this.attend());
  }

  private call(end: LinkedEnd, act: () => void): void {
    act();
    end.planTurn();
  }

  private breakSomething(): void {
    const { random, world } = this;
    const link = world.pickLink();
    if (link === undefined) return;
    const kind = random.below(10);
    if (kind < 4) world.reset(link);
    else if (kind < 7) {
      const ms = random.below(random.chance(0.7) ? 800 : 6_000);
      if (random.chance(0.8)) link.up.stall(ms);
      if (random.chance(0.8)) link.down.stall(ms);
    } else if (kind < 8) link.up.freeze();
    else if (kind < 9) link.down.freeze();
    else world.doubt();
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Half of the schedules, near their end. */
  private get mayDrain(): boolean {
    return this.seed % 2 === 0 && this.world.time.now > 0.8 * this.plan.activeMs;
  }

  private get isFinished(): boolean {
    return (
      this.isSettling &&
      this.world.ends.every((end) => {
        const isOver = [...end.streams.values()].every(({ phase, unconsumed }) => phase === 'over' && unconsumed === 0);
        return isOver && end.resumable.retransmitBytes === 0 && end.resumable.mux.isIdle;
      })
    );
  }

  private checkEnd(side: Side): void {
    const end = this.world[side];
    for (const stream of end.streams.values()) {
      if (stream.failed) continue;
      const sent = end.peer.streams.get(stream.id);
      if (!stream.peerFinished || sent?.written !== stream.received)
        throw new Error(`broken: ${side}'s stream ${stream.id} has ended without all that was written`);
    }
    const { streams, unread, unreleased, committed, ready } = kept(end.session);
    const held = heldBytes(end.resumable);
    const left = { streams, unread, unreleased, committed, ready, held };
    if (Object.values(left).some((value) => value !== 0)) throw new Error(`broken: left: ${JSON.stringify(left)}`);
  }

  /** Messages while nothing is to be sent. */
  private idle(): number {
    const { world } = this;
    const sent = () => world.client.sentMessages + world.exit.sentMessages;
    world.time.run(world.time.now + SETTLE_MS);
    const before = sent();
    world.time.run(world.time.now + IDLE_MS);
    const links = Math.max(1, world.client.carriers.length + world.exit.carriers.length);
    const messages = sent() - before;
    // Each end sends three records without frames on each link, three pings and three pongs, all acknowledged.
    if (messages > 6 * links + 40) throw new Error(`broken: ${messages} messages of ${links} idle links`);
    for (const { memory, side } of world.ends)
      if (memory.used > 64 * KIB) throw new Error(`broken: ${side} counts ${memory.used} bytes that it does not keep`);
    return messages;
  }

  private describe(): string {
    return JSON.stringify(
      this.world.ends.map(({ side, streams, resumable, carriers }) => ({
        side,
        open: [...streams.values()].filter(({ phase }) => phase !== 'over').length,
        kept: resumable.retransmitBytes,
        idle: resumable.mux.isIdle,
        links: carriers.map(({ state, link }) => ({
          flags: `${state.isFull ? 'full ' : ''}${state.isUnwanted ? 'unwanted ' : ''}${state.isStalled ? 'stalled ' : ''}${state.isLeaving ? 'leaving ' : ''}${state.isPeerLeaving ? 'peer leaving ' : ''}`,
          frozen: [link.up.isFrozen, link.down.isFrozen],
          inFlight: state.congestion.inFlightBytes,
        })),
      })),
    );
  }
}

/** Throws where something that must hold does not. */
export function runSchedule(seed: number): Outcome {
  return new Schedule(seed).run();
}
