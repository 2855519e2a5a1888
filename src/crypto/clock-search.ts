/**
 * Finds out whose clock is wrong: a ticket whose hint is of no epoch near the present one may be of a peer of ours
 * all the same. The search goes through the epochs of a day before and after, the nearest first, in slices as small as
 * the caller likes, and looks for all the tickets that wait at once: what strangers send makes it neither longer nor
 * dearer. Pure.
 *
 * Then it knows that peer's hints by the same error for some minutes. What may then be said to it is the opener's to
 * judge.
 */
import type { KnownKey } from './key-table.ts';
import { EPOCH_SECONDS, epochOf, numericHint, type SealedTicket } from './ticket-format.ts';

/** One day, as the epochs within the skew are known anyway: who is farther off has a clock that was never set. */
const MAX_OFFSET_EPOCHS = 86_400 / EPOCH_SECONDS;
/** Clocks that were set by hand, or drifted for years, are seldom farther off: they are looked for first. */
const NEAR_EPOCHS = 3_600 / EPOCH_SECONDS;
/** Tickets that wait, 0.3 KB each, and as many that are looked for near and far; others are strangers. */
const MAX_WANTED = 256;
/** Peers whose error is known, the one that came longest ago is forgotten. */
const MAX_FOUND = 256;
const FOUND_FOR_MS = 10 * 60_000;

interface Wanted {
  readonly ticket: SealedTicket;
  /** When it came, seconds since 1970. */
  readonly seconds: number;
}

type Wanteds = Map<bigint, Wanted>;

/** A ticket that was made under a key of ours, if the box in it holds. */
export interface Found extends Wanted {
  readonly known: KnownKey;
}

/** A peer whose clock is wrong. */
interface Off {
  readonly known: KnownKey;
  /** The peer's clock less ours, seconds. */
  readonly offset: number;
  readonly until: number;
  /** Of its three epochs now. */
  epoch: number;
  hints: readonly bigint[];
}

export class ClockSearch {
  private readonly keys: () => Iterable<KnownKey>;
  /** Those that came since the last sweep began, by hint. */
  private waiting: Wanteds = new Map();
  /** Those that no sweep of the nearest hour has found. */
  private farther: Wanteds = new Map();
  private near: Sweep | undefined;
  private far: Sweep | undefined;
  /** The one that came longest ago first. */
  private readonly off = new Map<KnownKey, Off>();

  /** @param keys those of the present moment */
  constructor(keys: () => Iterable<KnownKey>) {
    this.keys = keys;
  }

  get isBusy(): boolean {
    return this.sweep() !== undefined;
  }

  /** A ticket with a hint that nobody knows. @param now milliseconds since 1970 */
  want(ticket: SealedTicket, now: number): void {
    if (this.waiting.size < MAX_WANTED) this.waiting.set(ticket.hint, { ticket, seconds: Math.floor(now / 1000) });
  }

  /** Goes on for so many hints, 2.5 µs each. Returns those found. */
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

  /** The one to go on with. A long way is no reason to let new tickets wait. */
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
    for (const [hint, wanted] of this.near?.wanted ?? [])
      if (this.farther.size < MAX_WANTED) this.farther.set(hint, wanted);
    this.near = undefined;
  }

  /** The peer's clock is off by so many seconds. */
  note(known: KnownKey, offset: number, now: number): void {
    this.off.delete(known);
    this.off.set(known, { known, offset, until: now + FOUND_FOR_MS, epoch: Number.NaN, hints: [] });
    for (const oldest of this.off.keys()) {
      if (this.off.size <= MAX_FOUND) break;
      this.off.delete(oldest);
    }
  }

  /** Whose hint it is, by an error that is known. */
  find(hint: bigint, now: number): { readonly known: KnownKey; readonly offset: number } | undefined {
    for (const off of this.off.values()) {
      if (now >= off.until) this.off.delete(off.known);
      else if (hintsNow(off, now).includes(hint)) return off;
    }
    return undefined;
  }

  forget(known: KnownKey): void {
    this.off.delete(known);
  }
}

/**
 * One way through epochs for tickets that came at almost the same time: the first of them says which epoch is the
 * present one.
 */
class Sweep {
  /** What was not found yet. */
  readonly wanted: Wanteds;
  /** One hint a step. */
  readonly steps: Iterator<Found | undefined, void>;

  constructor(wanted: Wanteds, keys: () => Iterable<KnownKey>, from: number, to: number) {
    this.wanted = wanted;
    this.steps = this.go(keys, from, to);
  }

  private *go(keys: () => Iterable<KnownKey>, from: number, to: number): Generator<Found | undefined, void> {
    const [first] = this.wanted.values();
    const present = epochOf(first?.seconds ?? 0);
    for (let distance = from; distance <= to; distance++) {
      for (const epoch of [present - distance, present + distance]) {
        for (const known of keys()) {
          if (this.wanted.size === 0) return;
          yield this.match(known, epoch);
        }
      }
    }
  }

  private match(known: KnownKey, epoch: number): Found | undefined {
    const hint = numericHint(known.sharedKey, epoch);
    const wanted = this.wanted.get(hint);
    this.wanted.delete(hint);
    return wanted && { ...wanted, known };
  }
}

/** Made once in an epoch, and not for each stranger. */
function hintsNow(off: Off, now: number): readonly bigint[] {
  const epoch = epochOf(Math.floor(now / 1000) + off.offset);
  if (epoch !== off.epoch) {
    off.epoch = epoch;
    off.hints = [epoch, epoch - 1, epoch + 1].map((each) => numericHint(off.known.sharedKey, each));
  }
  return off.hints;
}
