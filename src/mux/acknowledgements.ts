/**
 * What this end has received, and when it owes the peer word of it (docs/protocol.md §10): cumulative, once a turn of the event
 * loop at most, and seldom under load. Pure.
 */

export interface AcknowledgementConfig {
  /** After an acknowledgement the next waits so long, ms, unless `ackBytes` have come: a turn on loopback is shorter. */
  readonly ackIntervalMs: number;
  /** So much unacknowledged is acknowledged at once, bytes: far below the peer's replay bound. */
  readonly ackBytes: number;
}

export class Acknowledgements {
  private readonly config: AcknowledgementConfig;
  /** Numbered records that have come, in order, from the first of the session on. */
  received = 0;
  private told = 0;
  private untoldBytes = 0;
  private toldAt: number;

  constructor(config: AcknowledgementConfig, now: number) {
    this.config = config;
    this.toldAt = now - config.ackIntervalMs;
  }

  note(bytes: number): void {
    this.received += 1;
    this.untoldBytes += bytes;
  }

  get isOwed(): boolean {
    return this.received > this.told;
  }

  isDue(now: number): boolean {
    if (!this.isOwed) return false;
    return this.untoldBytes >= this.config.ackBytes || now - this.toldAt >= this.config.ackIntervalMs;
  }

  /** When one will be due; Infinity when none is owed. */
  nextTimeout(): number {
    return this.isOwed ? this.toldAt + this.config.ackIntervalMs : Number.POSITIVE_INFINITY;
  }

  /** The count to tell now. */
  take(now: number): number {
    this.tell(this.received, now);
    return this.received;
  }

  /** The peer was told `count` by another way. */
  tell(count: number, now: number): void {
    this.told = Math.max(this.told, count);
    this.toldAt = now;
    this.untoldBytes = 0;
  }
}
