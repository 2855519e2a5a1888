/** Finds links that carry far less than others, and are late: they were slowed down on purpose, and are left. Pure. */
import type { SessionLink } from './session-link.ts';

/** Links are compared so often, ms. */
const SPAN_MS = 2_000;
/** Less than this share of what the best link carries. */
const SLOW_SHARE = 1 / 8;
/** In so many spans in a row. */
const SLOW_SPANS = 3;

interface Seen {
  readonly ackedBytes: number;
  readonly lateTimes: number;
  readonly slowSpans: number;
}

export class SlowLinks {
  private seen = new Map<SessionLink, Seen>();
  private spanEndsAt: number;

  constructor(now: number) {
    this.spanEndsAt = now + SPAN_MS;
  }

  /** Those that are to be left now. */
  find(links: readonly SessionLink[], now: number): readonly SessionLink[] {
    if (now < this.spanEndsAt) return [];
    this.spanEndsAt = now + SPAN_MS;
    const carried = (link: SessionLink) => link.ackedBytes - (this.seen.get(link)?.ackedBytes ?? link.ackedBytes);
    const best = Math.max(...links.map(carried));
    const seen = new Map(links.map((link) => [link, this.look(link, carried(link) < best * SLOW_SHARE)] as const));
    this.seen = seen;
    return links.filter((link) => (seen.get(link)?.slowSpans ?? 0) >= SLOW_SPANS);
  }

  private look(link: SessionLink, isSlow: boolean): Seen {
    const { ackedBytes, lateTimes } = link;
    const before = this.seen.get(link);
    const isLate = before !== undefined && lateTimes > before.lateTimes;
    return { ackedBytes, lateTimes, slowSpans: isSlow && isLate ? before.slowSpans + 1 : 0 };
  }
}
