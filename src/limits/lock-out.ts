/** Locks a failing source out, each time twice as long (OpenSSH's PerSourcePenalties). Pure; `now` never runs back. */
import { BoundedMap } from './bounded-map.ts';

export interface LockOutLimits {
  readonly freeFailures: number;
  /** So many failures a second are forgiven before the next one counts. */
  readonly forgivenPerSecond?: number;
  /** After each lock-out the free failures are free again. */
  readonly isFreeAgain?: boolean;
  readonly firstMs: number;
  readonly mostMs: number;
  /** After the lock-out, without another failure. */
  readonly forgetMs: number;
  /** Remembered: the one that failed longest ago is forgotten. */
  readonly maxSources: number;
}

interface Source<M> {
  /** Not forgiven yet, as of `at`. */
  failures: number;
  at: number;
  /** Length of the last lock-out; 0 before the first. */
  waitMs: number;
  until: number;
  readonly memo: M;
}

/** `M`: what else is remembered of a source, as long as its failures are. */
export class LockOut<M> {
  private readonly sources: BoundedMap<string, Source<M>>;

  constructor(
    private readonly limits: LockOutLimits,
    private readonly newMemo: (now: number) => M,
  ) {
    this.sources = new BoundedMap(limits.maxSources);
  }

  get size(): number {
    return this.sources.size;
  }

  isLocked(source: string, now: number): boolean {
    return now < (this.sources.get(source)?.until ?? now);
  }

  /** Returns the failures that count, and how long the source is locked out now, ms. */
  fail(source: string, now: number): { readonly failures: number; readonly waitMs: number } {
    const { freeFailures, forgivenPerSecond = 0, isFreeAgain = false, firstMs, mostMs } = this.limits;
    const entry = this.recall(source, now);
    const forgiven = ((now - entry.at) / 1000) * forgivenPerSecond;
    const failures = Math.max(0, entry.failures - forgiven) + 1;
    const isFree = failures <= freeFailures;
    if (!isFree) entry.waitMs = Math.min(mostMs, Math.max(firstMs, entry.waitMs * 2));
    const waitMs = isFree ? 0 : entry.waitMs;
    entry.failures = isFree || !isFreeAgain ? failures : 0;
    entry.at = now;
    entry.until = now + waitMs;
    this.sources.set(source, entry);
    return { failures, waitMs };
  }

  clear(source: string): void {
    this.sources.delete(source);
  }

  /** It counts as the one that failed last, and is forgotten last. */
  touch(source: string, now: number): void {
    this.sources.set(source, this.recall(source, now));
  }

  memoOf(source: string, now: number): M {
    const entry = this.recall(source, now);
    if (this.sources.get(source) !== entry) this.sources.set(source, entry);
    return entry.memo;
  }

  private recall(source: string, now: number): Source<M> {
    const known = this.sources.get(source);
    const isFresh = known !== undefined && now < known.until + this.limits.forgetMs;
    return isFresh ? known : { failures: 0, at: now, waitMs: 0, until: now, memo: this.newMemo(now) };
  }
}
