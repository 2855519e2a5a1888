/**
 * Decides whether a client streams the down stream or polls it: whether something on the way holds answers back until
 * they are complete, or connections have merely frozen. Pure, time passed in.
 */
import { EARLY_TRIAL_MS, FIRST_TRIAL_MS, MAX_TRIAL_MS, TRIAL_LIMIT_MS } from './http-limits.ts';

/** An answer that brings more so long after its beginning is not held back. */
const STEADY_MS = 250;
/** One that does so for this long shows that the path carries streams again. */
const LONG_MS = 30_000;
/** Without a first byte although the relay is there; with one burst, and then nothing. Where both are held back. */
const SILENT_POINTS = 2;
const BURST_POINTS = 1;
const POLL_POINTS = 4;
/** An answer to *poll* that is owed takes so long at the most, ms, on whatever path. */
const MAX_PATIENCE_MS = 60_000;

export class HoldWatch {
  private polling = false;
  private points = 0;
  private trialAt = Number.POSITIVE_INFINITY;
  private trialWaitMs = FIRST_TRIAL_MS;
  private patience: number;
  /** Of *up*, the latest, ms. */
  private tookMs = TRIAL_LIMIT_MS.most;
  private answeredAt = Number.NEGATIVE_INFINITY;

  /**
   * @param heldBackMs as of DownTimes
   * @param onFound whether answers are held back, each time that something has shown it
   */
  constructor(
    private readonly heldBackMs: number,
    private readonly onFound: (isHeldBack: boolean) => void = () => {},
  ) {
    this.patience = heldBackMs;
  }

  get isPolling(): boolean {
    return this.polling;
  }

  /** When an *up* request was answered the last time. */
  get upAnsweredAt(): number {
    return this.answeredAt;
  }

  /** An *up* request was answered: the relay is there. */
  noteUpAnswer(tookMs: number, now: number): void {
    this.tookMs = tookMs;
    this.answeredAt = now;
  }

  /** The link is open. @param byPoll the answer to *down* did not begin */
  noteOpened(byPoll: boolean, now: number): void {
    this.polling = byPoll;
    if (byPoll) this.trialAt = now + EARLY_TRIAL_MS;
    this.onFound(byPoll);
  }

  // ── streaming ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A piece of an answer to *down* came. @param begunAt when its first byte did */
  noteStreamed(begunAt: number, now: number): void {
    if (now - begunAt < STEADY_MS) return;
    this.points = 0;
    if (now - begunAt >= LONG_MS) this.trialWaitMs = FIRST_TRIAL_MS;
  }

  /**
   * An answer to *down* was silent for too long. After several the client polls.
   * @param begunAt when its first byte came, if one did
   */
  noteSilent(startedAt: number, begunAt: number | undefined, lastByteAt: number, now: number): void {
    const isSteady = begunAt !== undefined && lastByteAt - begunAt >= STEADY_MS;
    // Without a word of the relay the whole path may be away.
    if (isSteady || this.answeredAt < startedAt) return;
    this.points += begunAt === undefined ? SILENT_POINTS : BURST_POINTS;
    if (this.points >= POLL_POINTS) this.beginPolling(now);
  }

  private beginPolling(now: number): void {
    this.polling = true;
    this.points = 0;
    this.trialAt = now + this.trialWaitMs;
    this.trialWaitMs = Math.min(this.trialWaitMs * 2, MAX_TRIAL_MS);
    this.onFound(true);
  }

  // ── polling ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** One *down* may be tried in place of the next *poll*. */
  isTrialDue(now: number): boolean {
    return this.polling && now >= this.trialAt;
  }

  /** So long a trial may be without a byte: what the relay sends meanwhile is late by it. */
  get trialLimitMs(): number {
    return Math.min(Math.max(3 * this.tookMs, TRIAL_LIMIT_MS.least), TRIAL_LIMIT_MS.most, this.heldBackMs);
  }

  handleTrial(hasWorked: boolean, now: number): void {
    if (!hasWorked) return this.beginPolling(now);
    this.polling = false;
    this.onFound(false);
  }

  /** So long an answer to *poll* that the relay owes may be silent. */
  get pollPatienceMs(): number {
    return this.patience;
  }

  /** It was silent for longer: it may be large and held back on a slow path. */
  notePollSilent(): void {
    this.patience = Math.min(this.patience * 2, MAX_PATIENCE_MS);
  }

  /** An answer to *poll* came. @param owedMs for how long it was owed */
  notePolled(owedMs: number): void {
    this.patience = Math.min(Math.max(this.heldBackMs, 2 * owedMs), MAX_PATIENCE_MS);
  }
}
