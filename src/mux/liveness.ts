/** Whether the peer answers: pings, probes where an answer is due, limit of silence (docs/protocol.md §9). Pure. */
import type { MuxConfig, StallTimes } from './config.ts';

type LivenessConfig = Pick<MuxConfig, 'role' | 'pingIntervalMs' | 'silenceLimitMs' | 'probeMs' | 'probeAnswerMs'>;

/** `probeMs` and `probeAnswerMs` are at least so many round trips. */
const PROBE_ROUND_TRIPS = 4;
/** The client's pings come first, and save the exit its own. */
const CLIENT_SHARE = 14 / 15;
/** Probes of one silence: after 1, 3, 7 and 15 s; then the regular ping follows. */
const MAX_PROBES = 4;
/** The same in a hurry, from 0.3 s on: also for about as long. */
const MAX_HURRIED_PROBES = 6;

export class Liveness {
  // Whole ms of the clock, but for round trips: fractions cost memory.
  /** When the peer sent something last, or the link began. */
  heardAt: number;
  /** When the next ping becomes pending. It is sent when the link takes it; a full link must not repeat the timer. */
  private nextPingAt: number;
  private pingPending = false;
  /** Someone waits for the answer to the next ping. */
  private isAskedFor = false;
  private pingIntervalMs: number;
  private sequence = 0;
  private sentAt: number | undefined;
  private started = false;
  /** When silence was last looked for. */
  private checkedAt: number;
  /** Of the latest answered ping, ms, with the time in queues. */
  roundTripMs: number | undefined;
  /** Measured elsewhere, ms. */
  pathRoundTripMs = 0;
  /** In place of the configured times, once a round trip is known: another link is at hand. */
  hurry: StallTimes | undefined;
  /** When bytes of a stream were last received or sent. */
  private transferAt: number;
  private probes = MAX_HURRIED_PROBES;
  private probePending = false;
  /** When a probe was sent that nothing has followed. */
  private probedAt: number | undefined;

  constructor(
    private readonly config: LivenessConfig,
    now: number,
  ) {
    const at = Math.floor(now);
    this.heardAt = at;
    this.checkedAt = at;
    this.transferAt = at;
    this.pingIntervalMs = this.ownIntervalMs;
    this.nextPingAt = at + this.pingIntervalMs;
  }

  /** A link is established. The first ping is due at once: it measures the path before a stream needs it. */
  start(now: number): void {
    this.started = true;
    this.heardAt = Math.floor(now);
    this.nextPingAt = Math.floor(now) + this.pingIntervalMs;
    this.pingPending = true;
    this.sentAt = undefined;
    this.probedAt = undefined;
  }

  stop(): void {
    this.started = false;
  }

  handleBytes(now: number): void {
    this.heardAt = Math.floor(now);
    this.probedAt = undefined;
  }

  /**
   * Bytes of a stream were received or sent, so more is expected. If nothing follows, a probe checks the link: a broken
   * path looks from here like a target that sends nothing. Only at a client, which can dial another link.
   */
  handleTransfer(now: number): void {
    if (this.config.role !== 'client') return;
    this.transferAt = Math.floor(now);
    this.probes = 0;
  }

  /** As of MuxSession. */
  pingEvery(ms: number): void {
    this.pingIntervalMs = Math.min(ms, this.ownIntervalMs);
  }

  private get ownIntervalMs(): number {
    const { role, pingIntervalMs } = this.config;
    return role === 'client' ? Math.floor(pingIntervalMs * CLIENT_SHARE) : pingIntervalMs;
  }

  /** The answer to a ping of an idle client proves the link as well as a ping of the exit would. */
  handleIdlePing(now: number): void {
    if (this.config.role === 'exit') this.nextPingAt = Math.floor(now) + this.pingIntervalMs;
  }

  /** No stream is open: nothing is expected. */
  handleNoStreams(): void {
    this.probes = MAX_HURRIED_PROBES;
  }

  /** Sends a ping as soon as the link takes it. */
  pingNow(): void {
    this.pingPending = true;
    this.isAskedFor = true;
  }

  /** The round trip, ms, if someone waits for it. */
  handlePong(opaque: Uint8Array, now: number): number | undefined {
    if (this.sentAt === undefined || Buffer.from(opaque).readUInt32BE(4) !== this.sequence) return undefined;
    this.roundTripMs = now - this.sentAt;
    this.sentAt = undefined;
    // One that is still to be sent was asked for after this one.
    if (!this.isAskedFor || this.pingPending) return undefined;
    this.isAskedFor = false;
    return this.roundTripMs;
  }

  handleTimeout(now: number): void {
    this.checkedAt = Math.floor(now);
    const isProbe = now >= this.probeAt();
    if (!isProbe && now < this.nextPingAt) return;
    if (isProbe) this.probes += 1;
    this.probePending ||= isProbe;
    this.pingPending = true;
    this.nextPingAt = Math.floor(now) + this.pingIntervalMs;
  }

  /** Each probe of a silence waits twice as long as the one before it. */
  private probeAt(): number {
    const most = this.times === this.config ? MAX_PROBES : MAX_HURRIED_PROBES;
    const isDue = this.probes < most && !this.probePending && this.probedAt === undefined;
    if (!this.started || !isDue) return Number.POSITIVE_INFINITY;
    return Math.max(this.heardAt, this.transferAt) + this.atLeast(this.times.probeMs) * 2 ** this.probes;
  }

  private get times(): Pick<StallTimes, 'probeMs' | 'probeAnswerMs'> {
    const isKnown = this.roundTripMs !== undefined || this.pathRoundTripMs > 0;
    return (isKnown ? this.hurry : undefined) ?? this.config;
  }

  private atLeast(ms: number): number {
    return Math.max(ms, PROBE_ROUND_TRIPS * Math.max(this.roundTripMs ?? 0, this.pathRoundTripMs));
  }

  /** When a probe has waited too long for an answer; Infinity without a probe. */
  unansweredAt(): number {
    if (this.probedAt === undefined) return Number.POSITIVE_INFINITY;
    return this.probedAt + this.atLeast(this.times.probeAnswerMs);
  }

  get isPingPending(): boolean {
    return this.pingPending;
  }

  /** The ping's 8 bytes; call it as the frame is written. */
  ping(now: number): Uint8Array {
    this.sequence = (this.sequence + 1) >>> 0;
    this.sentAt = now;
    this.pingPending = false;
    if (this.probePending) this.probedAt = now;
    this.probePending = false;
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
    return this.checkedAt >= deadAt ? pingAt : Math.min(pingAt, deadAt);
  }
}
