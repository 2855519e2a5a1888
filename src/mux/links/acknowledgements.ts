/**
 * What has come on one link, and when this end acknowledges that (docs/protocol.md §10): rarely, or with data. Counts
 * positions on the link. Pure.
 */
import { type Acknowledgement, RECEIPT_CLOCK_US } from '../../protocol/record-header.ts';
import type { ResumeConfig } from './resume-config.ts';

type AcknowledgementConfig = Pick<ResumeConfig, 'ackIntervalMs' | 'ackWaitMs' | 'ackBytes'>;

export class Acknowledgements {
  /** Position of the newest record that was received. */
  private received: number;
  private acked: number;
  /** No more than this may be acknowledged for now. */
  private cap = Number.POSITIVE_INFINITY;
  private unackedBytes = 0;
  private ackedAt: number;
  /** The earliest time that an unacknowledged record asks for. */
  private neededAt = Number.POSITIVE_INFINITY;
  /** When the newest record was received. */
  private newestAt = 0;

  /** @param before the first position is the one after this */
  constructor(
    private readonly config: AcknowledgementConfig,
    before: number,
    now: number,
  ) {
    this.received = before;
    this.acked = before;
    this.ackedAt = now;
  }

  /** A numbered record, or a piece of one, was received. */
  onRecord(bytes: number, mayWait: boolean, now: number): void {
    this.newestAt = now;
    this.neededAt = Math.min(this.neededAt, mayWait ? now + this.config.ackWaitMs : this.nextAt);
    this.received += 1;
    this.unackedBytes += bytes;
  }

  /** From now on only what has been received until now may be acknowledged. */
  hold(): void {
    this.cap = this.received;
  }

  release(): void {
    this.cap = Number.POSITIVE_INFINITY;
  }

  private get ackable(): number {
    return Math.min(this.received, this.cap);
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
    this.neededAt = this.acked < this.received ? this.nextAt : Number.POSITIVE_INFINITY;
    this.unackedBytes = 0;
    return { position: this.acked, receivedUs: Math.round(this.newestAt * 1000) % RECEIPT_CLOCK_US };
  }
}
