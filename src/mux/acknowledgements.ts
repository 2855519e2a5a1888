/** What this end has received, and when it acknowledges that (docs/protocol.md §10): rarely, or with data. Pure. */
import { type Acknowledgement, RECEIPT_CLOCK_US } from '../protocol/record-header.ts';
import type { ResumeConfig } from './config.ts';

type AcknowledgementConfig = Pick<ResumeConfig, 'ackIntervalMs' | 'ackWaitMs' | 'ackBytes'>;

export class Acknowledgements {
  /** Numbered records of the whole session. */
  received = 0;
  /** As `received`, but what a new link retransmits counts when it has arrived on that link. */
  private onLink = 0;
  private acked = 0;
  /** No more than this may be acknowledged for now. */
  private cap = Number.POSITIVE_INFINITY;
  private unackedBytes = 0;
  private ackedAt: number;
  /** The earliest time that an unacknowledged record asks for. */
  private neededAt = Number.POSITIVE_INFINITY;
  /** When the newest numbered record of this link was received. */
  private newestAt = 0;

  constructor(
    private readonly config: AcknowledgementConfig,
    now: number,
  ) {
    this.ackedAt = now - config.ackIntervalMs;
  }

  /** On a new link the peer continues after `count` records. What the old link acknowledged may not have arrived. */
  begin(count: number, now: number): void {
    this.cap = Number.POSITIVE_INFINITY;
    this.onLink = count;
    this.acked = count;
    this.ackedAt = now;
    this.neededAt = Number.POSITIVE_INFINITY;
    this.unackedBytes = 0;
  }

  /** A numbered record was received. False: the old link had delivered it while the new one was agreed on. */
  onRecord(bytes: number, mayWait: boolean, now: number): boolean {
    this.newestAt = now;
    this.neededAt = Math.min(this.neededAt, mayWait ? now + this.config.ackWaitMs : this.nextAt);
    this.onLink += 1;
    this.unackedBytes += bytes;
    if (this.onLink <= this.received) return false;
    this.received = this.onLink;
    return true;
  }

  /** From now on only what has been received until now may be acknowledged. */
  hold(): void {
    this.cap = this.received;
  }

  release(): void {
    this.cap = Number.POSITIVE_INFINITY;
  }

  private get ackable(): number {
    return Math.min(this.onLink, this.cap);
  }

  get isPending(): boolean {
    return this.ackable > this.acked;
  }

  /** The earliest time for an acknowledgement without a delay. */
  private get nextAt(): number {
    return this.ackedAt + this.config.ackIntervalMs;
  }

  /** When an acknowledgement must go alone; Infinity while none is pending. */
  get dueAt(): number {
    return this.isPending ? this.neededAt : Number.POSITIVE_INFINITY;
  }

  isDue(now: number): boolean {
    return now >= this.dueAt || (this.isPending && this.unackedBytes >= this.config.ackBytes);
  }

  take(now: number): Acknowledgement {
    this.acked = this.ackable;
    this.ackedAt = now;
    // What may not be acknowledged yet is due when it may.
    this.neededAt = this.acked < this.onLink ? this.nextAt : Number.POSITIVE_INFINITY;
    this.unackedBytes = 0;
    return { count: this.acked, receivedUs: Math.round(this.newestAt * 1000) % RECEIPT_CLOCK_US };
  }
}
