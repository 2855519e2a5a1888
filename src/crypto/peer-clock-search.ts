/**
 * Finds peers whose clocks are wrong. A ticket whose hint is of no epoch near the current one may still be of a known
 * peer. The search goes through the epochs of a day before and after, the nearest first, in slices of any size. It
 * compares all waiting tickets at once, so that tickets of strangers make it neither longer nor more expensive. For
 * some minutes after, it knows that peer's hints with the same error. Pure.
 */
import type { KnownKey } from './key-table.ts';
import { EPOCH_SECONDS, epochOf, numericHint, type SealedTicket } from './ticket-format.ts';

/** One day; the epochs within the skew are known anyway. A clock that is farther off was never set. */
const MAX_OFFSET_EPOCHS = 86_400 / EPOCH_SECONDS;
/** Clocks that were set by hand, or drifted for years, are seldom farther off: this hour is searched first. */
const NEAR_EPOCHS = 3_600 / EPOCH_SECONDS;
/** Tickets that wait, 0.3 KB each, and as many in each search, near and far; others count as strangers'. */
const MAX_SOUGHT = 256;
/** Peers whose error is known; the oldest is dropped. */
const MAX_FOUND = 256;
const FOUND_FOR_MS = 10 * 60_000;

interface SoughtTicket {
  readonly ticket: SealedTicket;
  /** When it came, seconds since 1970. */
  readonly seconds: number;
}

/** By hint. */
type SoughtTickets = Map<bigint, SoughtTicket>;

/** A ticket whose hint is of a known key; its box is not verified yet. */
export interface Found extends SoughtTicket {
  readonly known: KnownKey;
}

/** A peer whose clock is wrong. */
interface WrongClock {
  readonly known: KnownKey;
  /** The peer's clock less ours, seconds. */
  readonly offset: number;
  readonly until: number;
  /** Of its three epochs now. */
  epoch: number;
  hints: readonly bigint[];
}

export class ClockSearch {
  /** Those that came since the last sweep began. */
  private waiting: SoughtTickets = new Map();
  /** Those that a sweep of the nearest hour has not found. */
  private farther: SoughtTickets = new Map();
  private near: Sweep | undefined;
  private far: Sweep | undefined;
  /** The oldest first. */
  private readonly wrongClocks = new Map<KnownKey, WrongClock>();

  /** @param keys those known now */
  constructor(private readonly keys: () => Iterable<KnownKey>) {}

  get isBusy(): boolean {
    return this.sweep() !== undefined;
  }

  /** A ticket with an unknown hint. @param now milliseconds since 1970 */
  add(ticket: SealedTicket, now: number): void {
    if (this.waiting.size < MAX_SOUGHT) this.waiting.set(ticket.hint, { ticket, seconds: Math.floor(now / 1000) });
  }

  /** Continues for so many hints, 2.5 µs each. Returns the tickets that were found. */
  search(hints: number): Found[] {
    const found: Found[] = [];
    for (let left = hints; left > 0; left--) {
      const step = this.sweep()?.steps.next();
      if (step === undefined) break;
      if (step.done) this.end();
      else if (step.value !== undefined) found.push(step.value);
    }
    return found;
  }

  /** The sweep to continue: the near one first, so that new tickets do not wait for a long search. */
  private sweep(): Sweep | undefined {
    if (this.near === undefined && this.waiting.size > 0) {
      this.near = new Sweep(this.waiting, this.keys, 0, NEAR_EPOCHS);
      this.waiting = new Map();
    }
    if (this.near !== undefined) return this.near;
    if (this.far === undefined && this.farther.size > 0) {
      this.far = new Sweep(this.farther, this.keys, NEAR_EPOCHS + 1, MAX_OFFSET_EPOCHS);
      this.farther = new Map();
    }
    return this.far;
  }

  private end(): void {
    if (this.near === undefined) this.far = undefined;
    for (const [hint, ticket] of this.near?.sought ?? [])
      if (this.farther.size < MAX_SOUGHT) this.farther.set(hint, ticket);
    this.near = undefined;
  }

  /** The peer's clock is off by so many seconds. */
  setOffset(known: KnownKey, offset: number, now: number): void {
    this.wrongClocks.delete(known);
    this.wrongClocks.set(known, { known, offset, until: now + FOUND_FOR_MS, epoch: Number.NaN, hints: [] });
    for (const oldest of this.wrongClocks.keys()) {
      if (this.wrongClocks.size <= MAX_FOUND) break;
      this.wrongClocks.delete(oldest);
    }
  }

  /** The key of a hint, with a known error of its clock. */
  find(hint: bigint, now: number): { readonly known: KnownKey; readonly offset: number } | undefined {
    for (const clock of this.wrongClocks.values()) {
      if (now >= clock.until) this.wrongClocks.delete(clock.known);
      else if (hintsNow(clock, now).includes(hint)) return clock;
    }
    return undefined;
  }

  forget(known: KnownKey): void {
    this.wrongClocks.delete(known);
  }
}

/** One pass for tickets that came at almost the same time. The first says which epoch is the current one. */
class Sweep {
  /** One hint a step. */
  readonly steps: Iterator<Found | undefined, void>;

  constructor(
    /** Tickets that are not found yet. */
    readonly sought: SoughtTickets,
    keys: () => Iterable<KnownKey>,
    from: number,
    to: number,
  ) {
    this.steps = this.go(keys, from, to);
  }

  private *go(keys: () => Iterable<KnownKey>, from: number, to: number): Generator<Found | undefined, void> {
    const [first] = this.sought.values();
    const current = epochOf(first?.seconds ?? 0);
    for (let distance = from; distance <= to; distance++) {
      for (const epoch of [current - distance, current + distance]) {
        for (const known of keys()) {
          if (this.sought.size === 0) return;
          yield this.match(known, epoch);
        }
      }
    }
  }

  private match(known: KnownKey, epoch: number): Found | undefined {
    const hint = numericHint(known.sharedKey, epoch);
    const ticket = this.sought.get(hint);
    this.sought.delete(hint);
    return ticket && { ...ticket, known };
  }
}

/** Computed once per epoch, not for each stranger. */
function hintsNow(clock: WrongClock, now: number): readonly bigint[] {
  const epoch = epochOf(Math.floor(now / 1000) + clock.offset);
  if (epoch !== clock.epoch) {
    clock.epoch = epoch;
    clock.hints = [epoch, epoch - 1, epoch + 1].map((each) => numericHint(clock.known.sharedKey, each));
  }
  return clock.hints;
}
