/**
 * Who knocks with a wrong secret, how often, and how long he has to wait. Pure, with time passed in.
 *
 * 128 bits cannot be guessed; this keeps a guesser from costing the laptop work, and makes him seen.
 */

/** A page of a client that ended pairs once in vain; a person may scan an old code twice. */
const FREE_GUESSES = 3;
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 60_000;
/** After the wait, without another guess. */
const FORGET_MS = 10 * 60_000;
/** A network at home has fewer; who makes addresses up pushes out his own. */
const MAX_ADDRESSES = 256;

interface Guesser {
  guesses: number;
  waitMs: number;
  until: number;
}

/** Times are milliseconds of any clock that does not run backwards. */
export class FailedAttempts {
  /** The one that guessed longest ago first. */
  private readonly guessers = new Map<string, Guesser>();
  private count = 0;

  /** Of all addresses, ever. */
  get total(): number {
    return this.count;
  }

  mustWait(address: string, now: number): boolean {
    return now < (this.guessers.get(address)?.until ?? now);
  }

  /** A secret was wrong. Returns how many this address has tried, and how long it has to wait now, ms. */
  note(address: string, now: number): { readonly guesses: number; readonly waitMs: number } {
    this.count += 1;
    const before = this.guessers.get(address);
    const isFresh = before !== undefined && now < before.until + FORGET_MS;
    const { guesses, waitMs } = isFresh ? before : { guesses: 0, waitMs: 0 };
    const next = guesses + 1 <= FREE_GUESSES ? 0 : Math.min(MAX_WAIT_MS, Math.max(FIRST_WAIT_MS, waitMs * 2));
    this.guessers.delete(address);
    this.guessers.set(address, { guesses: guesses + 1, waitMs: next, until: now + next });
    this.forgetOldest();
    return { guesses: guesses + 1, waitMs: next };
  }

  /** A secret of this address was right. */
  clear(address: string): void {
    this.guessers.delete(address);
  }

  private forgetOldest(): void {
    const [oldest] = this.guessers.keys();
    if (this.guessers.size > MAX_ADDRESSES && oldest !== undefined) this.guessers.delete(oldest);
  }
}
