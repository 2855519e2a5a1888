/**
 * What this end has received, and when it owes the peer word of it (docs/protocol.md §10): cumulative, once a turn of
 * the event loop at most, seldom under load, and where the peer can do without for a while, along with what is sent
 * anyway. Pure.
 */
import { type Acknowledgement, RECEIPT_CLOCK_US } from '../protocol/record-header.ts';

export interface AcknowledgementConfig {
  /**
   * After an acknowledgement the next waits so long, ms, unless `ackBytes` have come: a turn on loopback is shorter.
   */
  readonly ackIntervalMs: number;
  /** So much unacknowledged is acknowledged at once, bytes: far below the peer's replay bound. */
  readonly ackBytes: number;
  /** A record whose sender allows it is acknowledged alone so long after it came, ms. */
  readonly ackWaitMs: number;
}

export class Acknowledgements {
  private readonly config: AcknowledgementConfig;
  /** Numbered records that have come, in order, from the first of the session on. */
  received = 0;
  /** The same, but what a new link has to bring again counts when it has: the peer counts what it sends on the link. */
  private onLink = 0;
  private told = 0;
  /** Not to be told of more than this for now. */
  private cap = Number.POSITIVE_INFINITY;
  private untoldBytes = 0;
  private toldAt: number;
  /** The earliest time that any untold record asks for. */
  private wantedAt = Number.POSITIVE_INFINITY;
  /** When the newest numbered record of this link came. */
  private newestAt = 0;

  constructor(config: AcknowledgementConfig, now: number) {
    this.config = config;
    this.toldAt = now - config.ackIntervalMs;
  }

  /**
   * A new link, whose peer was told `count`: it begins right behind. What it was told on the old one may not have come.
   */
  begin(count: number, now: number): void {
    this.cap = Number.POSITIVE_INFINITY;
    this.onLink = count;
    this.told = count;
    this.toldAt = now;
    this.wantedAt = Number.POSITIVE_INFINITY;
    this.untoldBytes = 0;
  }

  /** A numbered record has come. False: it had come before, on the old link while the new one was agreed on. */
  note(bytes: number, mayWait: boolean, now: number): boolean {
    this.newestAt = now;
    this.wantedAt = Math.min(this.wantedAt, mayWait ? now + this.config.ackWaitMs : this.nextAt);
    this.onLink += 1;
    this.untoldBytes += bytes;
    if (this.onLink <= this.received) return false;
    this.received = this.onLink;
    return true;
  }

  /** From now on nothing is told beyond what has come. */
  hold(): void {
    this.cap = this.received;
  }

  release(): void {
    this.cap = Number.POSITIVE_INFINITY;
  }

  private get tellable(): number {
    return Math.min(this.onLink, this.cap);
  }

  get isOwed(): boolean {
    return this.tellable > this.told;
  }

  /** The earliest time for one that is wanted soon. */
  private get nextAt(): number {
    return this.toldAt + this.config.ackIntervalMs;
  }

  /** When word is due that nothing took along; Infinity while none is owed. */
  get dueAt(): number {
    return this.isOwed ? this.wantedAt : Number.POSITIVE_INFINITY;
  }

  isDue(now: number): boolean {
    return now >= this.dueAt || (this.isOwed && this.untoldBytes >= this.config.ackBytes);
  }

  /** What to tell now. */
  take(now: number): Acknowledgement {
    this.told = this.tellable;
    this.toldAt = now;
    // What may not be told yet is due when it may.
    this.wantedAt = this.told < this.onLink ? this.nextAt : Number.POSITIVE_INFINITY;
    this.untoldBytes = 0;
    return { count: this.told, receivedUs: Math.round(this.newestAt * 1000) % RECEIPT_CLOCK_US };
  }
}
