/** Delivery rate of a link (draft-cheng-iccrg-delivery-rate-estimation): one sample a round, the best counts. Pure. */

/** The best of so many rounds is the delivery rate. */
export const RATE_ROUNDS = 8;

/** A round lasts at least this long, ms: on loopback a round trip is shorter than a turn of the event loop. */
export const MIN_ROUND_MS = 4;

export class DeliveryRate {
  /** Of this link, bytes. */
  sent = 0;
  acked = 0;
  /** The delivery rate, bytes a millisecond; 0 before the first round is over. */
  bytesPerMs = 0;
  private readonly samples = new Array<number>(RATE_ROUNDS).fill(0);
  private sampleCount = 0;
  /** When the newest acknowledgement came; when its record was sent, and received by the peer's clock. */
  ackedAt: number;
  private ackedSentAt: number;
  private ackedReceivedAt: number;

  // The current round. It begins with the newest acknowledgement, or with the first record after a pause.
  /** It ends when so much is acknowledged; undefined until the first acknowledgement after a pause. */
  private roundEnd: number | undefined;
  private roundBeganAt: number;
  private roundAcked = 0;
  private roundSentAt: number;
  private roundReceivedAt: number | undefined;
  /** The sender had too little to fill it: the path carries at least what it shows. */
  isRoundAppLimited = false;
  /** Rounds are app-limited until so much is acknowledged. */
  private appLimitedUntil = 0;
  /** Nothing was sent since the application had nothing to send. */
  isIdle = true;

  constructor(now: number) {
    this.ackedAt = now;
    this.ackedSentAt = now;
    this.ackedReceivedAt = now;
    this.roundBeganAt = now;
    this.roundSentAt = now;
  }

  get inFlightBytes(): number {
    return this.sent - this.acked;
  }

  onAcked(bytes: number, sentAt: number, receivedAt: number, now: number): void {
    this.acked += bytes;
    this.ackedAt = now;
    this.ackedSentAt = sentAt;
    this.ackedReceivedAt = receivedAt;
    this.roundEnd ??= this.sent;
  }

  onAppLimited(): void {
    this.isIdle = true;
    this.isRoundAppLimited = true;
    this.appLimitedUntil = this.sent;
  }

  /** @param afterPause it begins with the record that goes out now */
  beginRound(now: number, afterPause: boolean): void {
    this.roundEnd = afterPause ? undefined : this.sent;
    this.roundBeganAt = now;
    this.roundAcked = this.acked;
    this.roundSentAt = afterPause ? now : this.ackedSentAt;
    this.roundReceivedAt = afterPause ? undefined : this.ackedReceivedAt;
    this.isRoundAppLimited = !afterPause && this.acked < this.appLimitedUntil;
  }

  /** @param leastMs a round lasts so long, ms, at least */
  isRoundOver(now: number, leastMs: number): boolean {
    return this.roundEnd !== undefined && this.acked >= this.roundEnd && now - this.roundBeganAt >= leastMs;
  }

  /** Of the whole round, bytes a millisecond. */
  roundRate(now: number, leastMs: number): number {
    // Records may be sent, received and acknowledged in bursts: no path is faster than the slowest of these.
    const { roundReceivedAt } = this;
    const arrival = roundReceivedAt === undefined ? now - this.roundBeganAt : this.ackedReceivedAt - roundReceivedAt;
    return (this.acked - this.roundAcked) / Math.max(arrival, this.ackedSentAt - this.roundSentAt, leastMs);
  }

  addSample(bytesPerMs: number): void {
    this.samples[this.sampleCount % RATE_ROUNDS] = bytesPerMs;
    this.sampleCount += 1;
    this.bytesPerMs = Math.max(...this.samples);
  }

  /** The path has changed: earlier samples say nothing about it. */
  restart(bytesPerMs: number): void {
    this.samples.fill(0);
    this.addSample(bytesPerMs);
  }
}
