/**
 * Is the peer still there, and how far away? A ping at intervals, sooner where something is awaited, a limit on
 * silence, time passed in (docs/protocol.md §9). Pure.
 */

export interface LivenessConfig {
  readonly pingIntervalMs: number;
  readonly silenceLimitMs: number;
  /** As of MuxConfig. */
  readonly probeMs: number;
  readonly probeAnswerMs: number;
}

/** Until a round trip is longer than a quarter of them, the times above hold. */
const PROBE_ROUND_TRIPS = 4;
/** Probes of one silence: after 1, 3, 7 and 15 s, where the regular ping takes over. */
const MAX_PROBES = 4;

export class Liveness {
  private readonly config: LivenessConfig;
  /** When something of the peer came last, or the link began. */
  heardAt: number;
  /**
   * When the next ping will be owed. It is sent when the link takes it: then a full link must not keep the timer
   * firing.
   */
  private nextPingAt: number;
  private pingOwed = false;
  private sequence = 0;
  private sentAt: number | undefined;
  private started = false;
  /** Silence that was found then need not be looked for again. */
  private judgedAt: number;
  /** Of the latest answered ping, ms; includes what waited in queues on the way. */
  roundTripMs: number | undefined;
  /** Measured elsewhere, ms. */
  pathRoundTripMs = 0;
  /** When bytes of a stream came or went last. */
  private transferAt: number;
  /** Since then. */
  private probes = MAX_PROBES;
  private probeOwed = false;
  /** Nothing has come since. */
  private probedAt: number | undefined;

  constructor(config: LivenessConfig, now: number) {
    this.config = config;
    this.heardAt = now;
    this.judgedAt = now;
    this.transferAt = now;
    this.nextPingAt = now + config.pingIntervalMs;
  }

  /** A link stands. The first ping is due at once: it measures the path before the first stream needs it. */
  start(now: number): void {
    this.started = true;
    this.heardAt = now;
    this.nextPingAt = now + this.config.pingIntervalMs;
    this.pingOwed = true;
    this.sentAt = undefined;
    this.probedAt = undefined;
  }

  /** The link is gone. */
  stop(): void {
    this.started = false;
  }

  handleBytes(now: number): void {
    this.heardAt = now;
    this.probedAt = undefined;
  }

  /**
   * Bytes of a stream came or went, so more may be awaited. If nothing follows, a probe asks whether the link still
   * stands: a peer whose bytes get lost cannot open another, and a path that carries nothing looks from here like a
   * target that says nothing.
   */
  handleTransfer(now: number): void {
    this.transferAt = now;
    this.probes = 0;
  }

  /** No stream is open: nothing is awaited. */
  handleNoStreams(): void {
    this.probes = MAX_PROBES;
  }

  handlePong(opaque: Uint8Array, now: number): void {
    if (this.sentAt === undefined || Buffer.from(opaque).readUInt32BE(4) !== this.sequence) return;
    this.roundTripMs = now - this.sentAt;
    this.sentAt = undefined;
  }

  handleTimeout(now: number): void {
    this.judgedAt = now;
    const isProbe = now >= this.probeAt();
    if (!isProbe && now < this.nextPingAt) return;
    if (isProbe) this.probes += 1;
    this.probeOwed ||= isProbe;
    this.pingOwed = true;
    this.nextPingAt = now + this.config.pingIntervalMs;
  }

  /** Each one of a silence waits twice as long as the one before it. */
  private probeAt(): number {
    const isDue = this.probes < MAX_PROBES && !this.probeOwed && this.probedAt === undefined;
    if (!this.started || !isDue) return Number.POSITIVE_INFINITY;
    return Math.max(this.heardAt, this.transferAt) + this.atLeast(this.config.probeMs) * 2 ** this.probes;
  }

  private atLeast(ms: number): number {
    return Math.max(ms, PROBE_ROUND_TRIPS * Math.max(this.roundTripMs ?? 0, this.pathRoundTripMs));
  }

  /** When a probe will have been without an answer for too long; Infinity while none is. */
  unansweredAt(): number {
    if (this.probedAt === undefined) return Number.POSITIVE_INFINITY;
    return this.probedAt + this.atLeast(this.config.probeAnswerMs);
  }

  get isPingOwed(): boolean {
    return this.pingOwed;
  }

  /** The ping's 8 bytes; call it as the frame is written. */
  ping(now: number): Uint8Array {
    this.sequence = (this.sequence + 1) >>> 0;
    this.sentAt = now;
    this.pingOwed = false;
    if (this.probeOwed) this.probedAt = now;
    this.probeOwed = false;
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
    const pingAt = Math.min(this.nextPingAt, this.probeAt());
    return this.judgedAt >= deadAt ? pingAt : Math.min(pingAt, deadAt);
  }
}
