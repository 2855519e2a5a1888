/**
 * How many links a session could use for what it sends (docs/protocol.md §10.2). One more is of use where packets get
 * lost: one TCP connection then carries less than the path could. It is of no use where the path is full, or the
 * application has little to send. Pure.
 *
 * Losses are seen from above TCP as holes: nothing arrives for most of a round trip although much is on its way, and
 * then all of it arrives at once (session-link.ts counts them).
 */

/** Without being told a number, a session has no more links than this. */
export const MOST_BY_ITSELF = 6;

/** Rates and holes are counted over so many spans of so many ms. */
const SPAN_MS = 500;
const SPANS = 8;

/** One more link is tried after so many holes within these spans. */
const HOLES = 3;
/** From one change to the next, ms. */
const SPACING_MS = 2_000;

/** A connection may have been made slower, if it carries so little of what it did, while the application has more. */
const COLLAPSE_SHARE = 1 / 4;
/** Spans in which it had. */
const BUSY_SPANS = 6;

/** A link is worth having if it adds this share of what the links carried before the first was added. */
const LEAST_GROWTH = 0.15;

/** Links that bring nothing are given back after this, ms, one after the other. */
const GIVE_BACK_MS = 60_000;

/** Before it is tried again where it brought nothing, ms; doubles each time. */
const RETRY_MS = 60_000;
const LONGEST_RETRY_MS = 3_600_000;

interface Span {
  bytes: number;
  isBusy: boolean;
  holes: number;
}

export class LinkDemand {
  /** How many links are of use. */
  wanted = 1;
  private readonly spans: Span[] = [];
  private spanEndsAt: number;
  private changedAt: number;
  /** When more than one link was of use last. */
  private usefulAt: number;
  /** Of one link, before others were added, bytes a ms. */
  private baseRate = 0;
  private bestRate = 0;
  private retryMs = RETRY_MS;
  private notBefore = Number.NEGATIVE_INFINITY;

  constructor(now: number) {
    this.spanEndsAt = now + SPAN_MS;
    this.changedAt = now;
    this.usefulAt = now;
  }

  /**
   * The peer has so many bytes more.
   * @param holes that this acknowledgement showed
   * @param isBusy the application has more to send than its link takes
   * @param links that the session has
   */
  onAcked(bytes: number, { holes, isBusy }: { holes: number; isBusy: boolean }, links: number, now: number): void {
    if (now >= this.spanEndsAt) this.endSpan(links, now);
    const span = this.spans.at(-1);
    if (span === undefined) return;
    span.bytes += bytes;
    span.holes += holes;
    span.isBusy ||= isBusy;
  }

  /** Time has passed. */
  handleTimeout(links: number, now: number): void {
    if (now >= this.spanEndsAt) this.endSpan(links, now);
  }

  private endSpan(links: number, now: number): void {
    this.decide(links, now);
    const missed = Math.floor((now - this.spanEndsAt) / SPAN_MS) + 1;
    for (let i = 0; i < Math.min(missed, SPANS); i++) this.spans.push({ bytes: 0, holes: 0, isBusy: false });
    this.spans.splice(0, this.spans.length - SPANS);
    this.spanEndsAt += missed * SPAN_MS;
  }

  private decide(links: number, now: number): void {
    const holes = this.spans.reduce((sum, span) => sum + span.holes, 0);
    const isLossy = holes >= HOLES || this.hasCollapsed();
    if (links === 1) this.baseRate = this.rate();
    const isUseful = this.isUseful(links);
    if (isLossy && isUseful) this.usefulAt = now;
    if (now - this.changedAt < SPACING_MS) return;
    // What one link carries must be known first, or each further one seems to bring much.
    const isKnown = this.spans.length >= SPANS;
    const mayAsk = isKnown && links >= this.wanted && links < MOST_BY_ITSELF && now >= this.notBefore;
    if (isLossy && isUseful && mayAsk) this.change(links + 1, now);
    // Those that never came, too; not those that only the peer, or the operator, wants.
    else if (this.wanted > 1 && now - this.usefulAt >= GIVE_BACK_MS) this.giveBack(isLossy, now);
  }

  /** Much less arrives than once did, although there is more to send: this connection may be slowed down on purpose. */
  private hasCollapsed(): boolean {
    const rate = this.rate();
    this.bestRate = Math.max(this.bestRate, rate);
    const busySpans = this.spans.filter(({ isBusy }) => isBusy).length;
    return busySpans >= BUSY_SPANS && rate < this.bestRate * COLLAPSE_SHARE;
  }

  private isUseful(links: number): boolean {
    return links === 1 || this.rate() >= this.baseRate * (1 + LEAST_GROWTH * (links - 1));
  }

  private change(wanted: number, now: number): void {
    if (this.wanted === 1) this.usefulAt = now;
    this.wanted = wanted;
    this.changedAt = now;
  }

  private giveBack(wasTried: boolean, now: number): void {
    this.change(this.wanted - 1, now);
    if (!wasTried) return;
    this.notBefore = now + this.retryMs;
    this.retryMs = Math.min(2 * this.retryMs, LONGEST_RETRY_MS);
  }

  /** Bytes a ms: the median of the spans, because the start of a transfer is faster than what follows. */
  private rate(): number {
    const bytes = this.spans.map((span) => span.bytes).sort((a, b) => a - b);
    return (bytes[bytes.length >> 1] ?? 0) / SPAN_MS;
  }
}
