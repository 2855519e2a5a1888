/**
 * What this network does to connections after a while: some freeze them after a number of bytes, reset them at an age,
 * or cut them when they are idle (docs/limits.md). It is learnt from links that ended against our will, so that the
 * next ones are left before it happens. It is forgotten after a while: the network may do it no more, and nothing else
 * would show that. Pure.
 */

/** How a link ended: nothing came any more, its connection was lost, or it became slow. */
export type LinkEnd = 'froze' | 'lost' | 'slowed';

/** A link that has ended. */
export interface EndedLink {
  readonly how: LinkEnd;
  /** Received and sent since the session began to use it, bytes. */
  readonly received: number;
  readonly sent: number;
  /** Until something came for the last time. */
  readonly ageMs: number;
  /** Without any byte either way, before the end. */
  readonly idleMs: number;
  /** When the session began to use it, by the clock. */
  readonly beganAt: number;
}

export type LimitedBy = 'received' | 'sent' | 'ageMs' | 'idleMs';

/** What was learnt: links end when they have so much of it. */
export interface LearntLimit {
  readonly by: LimitedBy;
  readonly how: LinkEnd;
  /** Bytes, or ms. */
  readonly value: number;
}

/** So many links in a row must have ended alike: within this share of each other. */
const ENOUGH = 3;
const ALIKE = 0.2;
/** Or so many bytes: only whole records count as received. */
const ALIKE_BYTES = 4_500;
/** A link that ended sooner, ms, says nothing of age and idleness. */
const LEAST_MS = 3_000;
/** The same of bytes: less is the beginning of any link. */
const LEAST_BYTES = 1_500;
/** Links that were there together and end within this time, ms, have one cause, such as a relay that restarts. */
const TOGETHER_MS = 1_000;
/** Links are left at this share of a limit of bytes, or of idle time. */
const SAFE_SHARE = 0.8;
/** At this share of an age: the next link takes time to make, on a busy machine a second. */
const SAFE_AGE_SHARE = 0.7;

/** What was learnt is forgotten after this, ms; doubles each time that it is learnt again in the same network. */
const FORGET_MS = 3_600_000;
const LONGEST_FORGET_MS = 24 * 3_600_000;

/** By which a link is likely to end, the likeliest first. */
const LIKELY: Readonly<Record<LinkEnd, readonly LimitedBy[]>> = {
  froze: ['received', 'sent', 'ageMs'],
  lost: ['idleMs', 'ageMs', 'received', 'sent'],
  slowed: ['received', 'sent', 'ageMs'],
};

/** Beyond these a link is not to be used. Infinity: no limit is known. */
export interface LinkUse {
  readonly received: number;
  readonly sent: number;
  readonly ageMs: number;
  readonly idleMs: number;
}

/** A limit that was learnt, and for how long it holds. */
interface Learnt {
  readonly limit: LearntLimit;
  readonly until: number;
}

/** What was learnt before, of one kind, in this network. */
interface Lesson {
  readonly times: number;
  /** The lowest value that was told. */
  readonly toldValue: number;
}

export class LinkLimits {
  /** How much links may be used: another object when that changes. */
  use: LinkUse;
  private ended: EndedLink[] = [];
  private endedAt = Number.NEGATIVE_INFINITY;
  /** No link was opened since the latest one ended. */
  private isUndecided = false;
  private changedAt = Number.NEGATIVE_INFINITY;
  private learnt: readonly Learnt[] = [];
  private lessons = new Map<LimitedBy, Lesson>();

  /** @param given by the user: learnt limits only make them narrower */
  constructor(private readonly given: Partial<LinkUse> = {}) {
    this.use = this.lowest();
  }

  private lowest(): LinkUse {
    return {
      received: this.safe('received'),
      sent: this.safe('sent'),
      ageMs: this.safe('ageMs'),
      idleMs: this.safe('idleMs'),
    };
  }

  private safe(by: LimitedBy): number {
    const share = by === 'ageMs' ? SAFE_AGE_SHARE : SAFE_SHARE;
    const values = this.learnt.filter(({ limit }) => limit.by === by).map(({ limit }) => limit.value * share);
    // The network counts bytes of TLS and of the upgrade, too, and a record may be under way.
    const given = (this.given[by] ?? Number.POSITIVE_INFINITY) * (isBytes(by) ? SAFE_SHARE : 1);
    return Math.min(given, ...values);
  }

  /** A link has ended against our will. Whether that tells something is known when another was opened, or failed. */
  handleEnded(link: EndedLink, now: number): void {
    if (link.beganAt < this.changedAt) return;
    const wasTogether = link.beganAt <= this.endedAt && now - this.endedAt < TOGETHER_MS;
    this.endedAt = now;
    if (wasTogether) return;
    this.ended = [...this.ended, link].slice(-ENOUGH);
    this.isUndecided = true;
  }

  /** The session has no link, and another could not be opened: what was lost was more than a link. */
  handleUnreachable(): void {
    if (this.isUndecided) this.ended = this.ended.slice(0, -1);
    this.isUndecided = false;
  }

  /** Another link was opened. Returns what the ends of the latest ones tell, where it was not told before. */
  handleOpened(now: number): LearntLimit | undefined {
    this.isUndecided = false;
    const last = this.ended.at(-1);
    if (last === undefined || this.ended.length < ENOUGH) return undefined;
    const by = LIKELY[last.how].find((one) => this.areAlike(one));
    if (by === undefined) return undefined;
    const values = this.ended.map((ended) => ended[by]);
    const value = isBytes(by) ? Math.max(...values) : Math.min(...values);
    this.ended = [];
    const before = this.learnt.find(({ limit }) => limit.by === by);
    if (before !== undefined && before.limit.value <= value) return undefined;
    return this.learn({ by, how: last.how, value }, now, before === undefined);
  }

  /** @param isAgain it had been forgotten, or was never known; otherwise it is lower than it was */
  private learn(limit: LearntLimit, now: number, isAgain: boolean): LearntLimit | undefined {
    const { by, value } = limit;
    const { times, toldValue } = this.lessons.get(by) ?? { times: 0, toldValue: Number.POSITIVE_INFINITY };
    const next = isAgain ? times + 1 : times;
    // Values differ a little from one time to the next.
    const isNews = value < toldValue * (isAgain && times > 0 ? 1 - ALIKE : 1);
    this.lessons.set(by, { times: next, toldValue: isNews ? value : toldValue });
    const until = now + Math.min(FORGET_MS * 2 ** (next - 1), LONGEST_FORGET_MS);
    this.learnt = [...this.learnt.filter((other) => other.limit.by !== by), { limit, until }];
    this.use = this.lowest();
    return isNews ? limit : undefined;
  }

  /** When something that was learnt is to be forgotten; Infinity: never. */
  get forgetsAt(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.learnt.map(({ until }) => until));
  }

  /** Time has passed. */
  handleTimeout(now: number): void {
    if (now < this.forgetsAt) return;
    this.learnt = this.learnt.filter(({ until }) => until > now);
    this.use = this.lowest();
  }

  private areAlike(by: LimitedBy): boolean {
    const values = this.ended.map((ended) => ended[by]);
    const least = Math.min(...values);
    const isEnough = least >= (isBytes(by) ? LEAST_BYTES : LEAST_MS);
    const span = Math.max(least * ALIKE, isBytes(by) ? ALIKE_BYTES : 0);
    return isEnough && Math.max(...values) - least <= span;
  }

  /** Another network: what was learnt does not hold there. */
  handleNetworkChanged(now: number): void {
    this.changedAt = now;
    this.isUndecided = false;
    this.ended = [];
    this.learnt = [];
    this.lessons = new Map();
    this.use = this.lowest();
  }
}

function isBytes(by: LimitedBy): boolean {
  return by === 'received' || by === 'sent';
}
