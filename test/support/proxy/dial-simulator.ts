/** Programs, targets and a clock around a DialQueue, all in virtual time. */
import { type Destination, destinationOfAddress } from '../../../src/exit/destinations.ts';
import { type Decisions, DialQueue, type Entry, type QueueLimits } from '../../../src/exit/dial-queue.ts';
import { parseIp } from '../../../src/net/ip.ts';

/** How long an offer waits for a place, a dial may take, and a program waits before it tries again, ms. */
const PATIENCE_MS = 4_000;
const DIAL_MS = 10_000;
const AGAIN_MS = 5;
const LOOK_MS = 50;

export interface Attempt {
  readonly at: number;
  readonly outcome: 'answered' | 'silent' | 'evicted' | 'busy';
  /** Until it had a place, ms. */
  readonly waitedMs: number;
}

interface Program {
  readonly peer: string;
  readonly destinations: readonly Destination[];
  /** Until the target answers, ms; undefined: never. */
  readonly answersAfter: number | undefined;
  readonly loops: boolean;
  readonly attempts: Attempt[];
}

interface Event {
  readonly at: number;
  readonly act: () => void;
}

export const address = (host: string, port = 80): Destination[] => {
  const ip = parseIp(host);
  if (!ip) throw new TypeError(host);
  return [destinationOfAddress(ip, port)];
};

export class DialSimulator {
  readonly queue: DialQueue;
  now = 0;
  /** The most places ever taken, by peer and in all. */
  readonly peaks = new Map<string, number>();
  private readonly events: Event[] = [];
  private readonly running = new Map<
    Entry,
    { program: Program; asked: number; done: (outcome: Attempt['outcome']) => void }
  >();
  private readonly taken = new Map<string, number>();

  constructor(limits: QueueLimits = { pendingPerPeer: 256, pendingTotal: 1_024 }) {
    this.queue = new DialQueue(limits);
    const look = (): void => {
      if (this.queue.waiting > 0) this.apply(this.queue.advance(this.now));
      this.at(this.now + LOOK_MS, look);
    };
    this.at(LOOK_MS, look);
  }

  /** One that never answers, tried for ever. */
  loopDead(peer: string, destinations: readonly Destination[], at = 0): Attempt[] {
    return this.begin({ peer, destinations, answersAfter: undefined, loops: true, attempts: [] }, at);
  }

  once(peer: string, destinations: readonly Destination[], answersAfter: number | undefined, at: number): Attempt[] {
    return this.begin({ peer, destinations, answersAfter, loops: false, attempts: [] }, at);
  }

  run(until: number): void {
    for (;;) {
      const next = this.events[0];
      if (next === undefined || next.at > until) break;
      this.events.shift();
      this.now = next.at;
      next.act();
    }
    this.now = until;
  }

  private begin(program: Program, at: number): Attempt[] {
    this.at(at, () => this.ask(program));
    return program.attempts;
  }

  private ask(program: Program): void {
    const asked = this.now;
    const { entry, decisions } = this.queue.ask(program.peer, program.destinations, this.now);
    let waitedMs = 0;
    const done = (outcome: Attempt['outcome']): void => {
      if (!this.running.delete(entry)) return;
      program.attempts.push({ at: asked, outcome, waitedMs });
      if (program.loops) this.at(this.now + AGAIN_MS, () => this.ask(program));
    };
    this.running.set(entry, { program, asked, done });
    this.apply(decisions);
    this.at(this.now + PATIENCE_MS, () => {
      if (entry.state !== 'waiting') return;
      waitedMs = PATIENCE_MS;
      this.queue.leave(entry, true, this.now);
      done('busy');
    });
    this.whenStarted.set(entry, () => {
      waitedMs = this.now - asked;
    });
    if (entry.state === 'started') this.started(entry);
  }

  private readonly whenStarted = new Map<Entry, () => void>();

  private started(entry: Entry): void {
    const noteWait = this.whenStarted.get(entry);
    if (!this.whenStarted.delete(entry)) return;
    noteWait?.();
    const running = this.running.get(entry);
    const { answersAfter = Number.POSITIVE_INFINITY, peer } = running?.program ?? { peer: '' };
    this.count(peer, 1);
    const answered = answersAfter < DIAL_MS;
    this.at(this.now + Math.min(answersAfter, DIAL_MS), () => this.end(entry, answered ? 'answered' : 'silent'));
  }

  private end(entry: Entry, outcome: Attempt['outcome']): void {
    if (entry.state !== 'started' && entry.state !== 'evicted') return;
    const running = this.running.get(entry);
    this.count(entry.peer, -1);
    const decisions = this.queue.end(entry, outcome === 'answered', this.now);
    running?.done(outcome);
    this.apply(decisions);
  }

  private apply({ started, evicted }: Decisions): void {
    for (const entry of started) this.started(entry);
    for (const entry of evicted) this.at(this.now, () => this.end(entry, 'evicted'));
  }

  private count(peer: string, by: number): void {
    for (const key of [peer, '']) {
      const taken = (this.taken.get(key) ?? 0) + by;
      this.taken.set(key, taken);
      this.peaks.set(key, Math.max(this.peaks.get(key) ?? 0, taken));
    }
  }

  /** In order of time, and of those for one time in the order in which they were set. */
  private at(at: number, act: () => void): void {
    let low = 0;
    let high = this.events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.events[middle]?.at ?? 0) <= at) low = middle + 1;
      else high = middle;
    }
    this.events.splice(low, 0, { at, act });
  }
}
