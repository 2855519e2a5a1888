/** Counts the failures of an outage by their reason, so that none is told twice. Pure, with the time passed in. */

import { timeOfDay } from './quantities.ts';
import { safeText } from './safe-text.ts';

/** Reasons of one outage; of one more, the oldest is forgotten. */
const MAX_REASONS = 32;
/** A reason that goes on is told again after this, where nobody sees it counted, ms. */
const REMINDER_MS = 10 * 60_000;

export interface Tally {
  /** `connection refused` */
  readonly reason: string;
  readonly count: number;
  /** Of the first one, ms. */
  readonly since: number;
}

/** `connection refused ×7 since 13:05:53` */
export function tallyText({ reason, count, since }: Tally): string {
  return `${safeText(reason)} ×${count} since ${timeOfDay(since)}`;
}

export class FailureTally {
  private readonly tallies = new Map<string, Tally & { readonly toldAt: number }>();
  private lastReason: string | undefined;

  /** The newest failure, and those of the same reason before it. */
  get last(): Tally | undefined {
    return this.lastReason === undefined ? undefined : this.tallies.get(this.lastReason);
  }

  /** @returns whether it is the first of its reason, or one to be reminded of */
  handle(reason: string, now: number): 'first' | 'again' | 'reminder' {
    const before = this.tallies.get(reason);
    const isDue = before === undefined || now - before.toldAt >= REMINDER_MS;
    const { count = 0, since = now } = before ?? {};
    this.tallies.set(reason, { reason, count: count + 1, since, toldAt: isDue ? now : before.toldAt });
    this.lastReason = reason;
    const [oldest] = this.tallies.keys();
    if (this.tallies.size > MAX_REASONS && oldest !== undefined) this.tallies.delete(oldest);
    if (before === undefined) return 'first';
    return isDue ? 'reminder' : 'again';
  }

  /** The outage is over. */
  clear(): void {
    this.tallies.clear();
    this.lastReason = undefined;
  }
}
