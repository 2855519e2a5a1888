/**
 * Is the peer still there, and how far away? A ping at intervals, a limit on silence, time passed in (docs/protocol.md §9). Pure.
 */

export interface LivenessConfig {
  readonly pingIntervalMs: number;
  readonly silenceLimitMs: number;
}

export class Liveness {
  private readonly config: LivenessConfig;
  private heardAt: number;
  /** When the next ping will be owed. It is sent when the link takes it: then a full link must not keep the timer firing. */
  private nextPingAt: number;
  private pingOwed = false;
  private sequence = 0;
  private sentAt: number | undefined;
  private started = false;
  /** Silence that was found then need not be looked for again. */
  private judgedAt: number;
  /** Of the latest answered ping, ms; includes what waited in queues on the way. */
  roundTripMs: number | undefined;

  constructor(config: LivenessConfig, now: number) {
    this.config = config;
    this.heardAt = now;
    this.judgedAt = now;
    this.nextPingAt = now + config.pingIntervalMs;
  }

  /** A link stands. The first ping is due at once: it measures the path before the first stream needs it. */
  start(now: number): void {
    this.started = true;
    this.heardAt = now;
    this.nextPingAt = now + this.config.pingIntervalMs;
    this.pingOwed = true;
    this.sentAt = undefined;
  }

  /** The link is gone. */
  stop(): void {
    this.started = false;
  }

  handleBytes(now: number): void {
    this.heardAt = now;
  }

  handlePong(opaque: Uint8Array, now: number): void {
    if (this.sentAt === undefined || Buffer.from(opaque).readUInt32BE(4) !== this.sequence) return;
    this.roundTripMs = now - this.sentAt;
    this.sentAt = undefined;
  }

  handleTimeout(now: number): void {
    this.judgedAt = now;
    if (now < this.nextPingAt) return;
    this.pingOwed = true;
    this.nextPingAt = now + this.config.pingIntervalMs;
  }

  get isPingOwed(): boolean {
    return this.pingOwed;
  }

  /** The ping's 8 bytes; call it as the frame is written. */
  ping(now: number): Uint8Array {
    this.sequence = (this.sequence + 1) >>> 0;
    this.sentAt = now;
    this.pingOwed = false;
    const opaque = Buffer.alloc(8);
    opaque.writeUInt32BE(this.sequence, 4);
    return opaque;
  }

  isDead(now: number): boolean {
    return this.started && now - this.heardAt >= this.config.silenceLimitMs;
  }

  /** When `handleTimeout` has something to do, or `isDead` turns true. */
  nextTimeout(): number {
    if (!this.started) return Number.POSITIVE_INFINITY;
    const deadAt = this.heardAt + this.config.silenceLimitMs;
    return this.judgedAt >= deadAt ? this.nextPingAt : Math.min(this.nextPingAt, deadAt);
  }
}
