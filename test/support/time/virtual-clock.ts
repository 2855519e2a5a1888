/**
 * A clock that stands still until it is told to go on. `advance` fires due timers in the order of their times and lets
 * the event loop settle between two of them, so that promises, streams and in-memory links run as they would; real
 * sockets do not, since nothing waits for the kernel.
 */
import type { Clock, Timer } from '../../../src/clock.ts';
import { prng } from '../prng.ts';

interface Pending extends Timer {
  readonly at: number;
  readonly fire: () => void;
}

/** Turns of the event loop in which nothing may be left to do: an in-memory link takes one for each message. */
const SETTLE_TURNS = 24;

export class VirtualClock implements Clock {
  private time: number;
  private wallOrigin: number;
  private readonly pending = new Set<Pending>();
  private readonly chance: () => number;

  /** @param wallTime of the calendar at the beginning, ms since 1970 */
  constructor({ now = 0, wallTime = 1_700_000_000_000, seed = 1 } = {}) {
    this.time = now;
    this.wallOrigin = wallTime - now;
    const random = prng(seed);
    this.chance = () => random.below(0x40000000) / 0x40000000;
  }

  now(): number {
    return this.time;
  }

  wallTime(): number {
    return Math.floor(this.wallOrigin + this.time);
  }

  /** The calendar jumps, as when a person sets it; timers go on. */
  setWallTime(wallTime: number): void {
    this.wallOrigin = wallTime - this.time;
  }

  setTimeout<T>(callback: (argument: T) => void, delayMs: number, argument?: T): Timer {
    // As Node's timers: 1 ms at least.
    const at = this.time + Math.max(1, delayMs);
    const timer: Pending = { at, fire: () => callback(argument as T), unref: () => timer };
    this.pending.add(timer);
    return timer;
  }

  clearTimeout(timer: Timer | undefined): void {
    this.pending.delete(timer as Pending);
  }

  random(): number {
    return this.chance();
  }

  /** Timers that have neither fired nor been cleared. */
  get timers(): number {
    return this.pending.size;
  }

  /** Lets so much time pass, ms. */
  async advance(ms: number): Promise<void> {
    const until = this.time + ms;
    await settle();
    for (let next = this.next(until); next !== undefined; next = this.next(until)) {
      this.pending.delete(next);
      this.time = Math.max(this.time, next.at);
      next.fire();
      await settle();
    }
    this.time = until;
  }

  /** The same within this turn: timers fire, and nothing settles between two of them. */
  advanceNow(ms: number): void {
    const until = this.time + ms;
    for (let next = this.next(until); next !== undefined; next = this.next(until)) {
      this.pending.delete(next);
      this.time = Math.max(this.time, next.at);
      next.fire();
    }
    this.time = until;
  }

  /** Lets time pass until `isDone`, or fails after `limitMs`. */
  async advanceUntil(isDone: () => boolean, limitMs: number): Promise<void> {
    const until = this.time + limitMs;
    await settle();
    while (!isDone()) {
      const next = this.next(until);
      if (next === undefined) throw new Error(`not done after ${limitMs} ms of virtual time`);
      await this.advance(Math.max(0, next.at - this.time));
    }
  }

  /** Lets time pass until the promise has settled, or fails after `limitMs`. */
  async run<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let isSettled = false;
    const settled = (): void => {
      isSettled = true;
    };
    promise.then(settled, settled);
    await this.advanceUntil(() => isSettled, limitMs);
    return await promise;
  }

  private next(until: number): Pending | undefined {
    let first: Pending | undefined;
    for (const timer of this.pending)
      if (timer.at <= until && (first === undefined || timer.at < first.at)) first = timer;
    return first;
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < SETTLE_TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
}
