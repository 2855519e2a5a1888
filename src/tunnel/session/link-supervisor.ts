/** Runs the timers of one session, and notices when its link stalls or is dead, as ResumableSession decides. */
import type { Clock, Timer } from '../../clock.ts';
import type { SessionLink } from '../../mux/links/session-link.ts';
import type { ResumableSession } from '../../mux/resumable-session.ts';
import type { Message } from '../../transport/message-link.ts';

/** After a stall was reported, the link is checked again this often. */
const STALL_CHECK_MS = 1_000;

/** One interface instead of closures: an idle session should cost little. */
export interface SupervisorOwner {
  readonly clock: Clock;
  /** Time has passed: the session may have something to send, or be over. */
  flush(): void;
  handleLinkDead(): void;
  /** Some of several links carry nothing any more, others do. */
  handleLinksStalled(stalled: readonly SessionLink[]): void;
  /** Bytes are on their way and nothing comes back. Once a stall; only where stalls are watched. */
  handleLinkStalled(): void;
}

export class LinkSupervisor {
  // Whole ms of the clock: fractions cost memory, and so does Infinity.
  /** When the last record was received. */
  receivedAt = 0;
  private timer: Timer | undefined;
  /** When the timer fires, if one is set. */
  private timerAt: number | undefined;
  private ackTimer: Timer | undefined;
  private ackAt: number | undefined;
  private stallReported = false;
  /** Undefined until `measureMessages`. */
  private longest: number | undefined;
  private stopped = false;

  constructor(
    private readonly session: ResumableSession,
    private readonly watchesStalls: boolean,
    private readonly owner: SupervisorOwner,
  ) {
    this.setTimer();
  }

  get isAttached(): boolean {
    return this.session.isAttached;
  }

  /** Bytes are on their way, and nothing comes back. */
  get isStalled(): boolean {
    return this.session.linkState(this.owner.clock.now()) === 'suspect';
  }

  /** The link carries something both ways, and does not stall. */
  get isProven(): boolean {
    return !this.isStalled && this.session.isProven(this.owner.clock.now());
  }

  /** As of ResumableSession. */
  get waitingSince(): number {
    return this.session.waitingSince;
  }

  /** Of the messages on the current link since `measureMessages`. */
  get longestMessageBytes(): number {
    return this.longest ?? 0;
  }

  /** From now on the longest message is recorded, until the next link. */
  measureMessages(): void {
    this.longest = 0;
  }

  isFine(now: number): boolean {
    return this.session.linkState(now) === 'fine';
  }

  /** A new link carries the session. */
  handleLink(): void {
    this.stallReported = false;
    this.longest = undefined;
  }

  handleMessage(message: Message, now: number): void {
    this.receivedAt = Math.floor(now);
    if (this.longest !== undefined) this.longest = Math.max(this.longest, bytesOf(message));
  }

  /** To be called whenever the session may have changed. */
  schedule(): void {
    this.setAcknowledgementTimer(this.session.acknowledgementAt());
    this.setTimer();
  }

  /** The session is over. */
  stop(): void {
    this.stopped = true;
    this.owner.clock.clearTimeout(this.timer);
    this.owner.clock.clearTimeout(this.ackTimer);
    this.timer = undefined;
    this.ackTimer = undefined;
  }

  /** Only an earlier time needs a new timer: one in each turn would cost more than it saves. */
  private setAcknowledgementTimer(dueAt: number): void {
    const at = Math.ceil(dueAt);
    if (at >= (this.ackAt ?? Number.POSITIVE_INFINITY)) return;
    this.owner.clock.clearTimeout(this.ackTimer);
    this.ackAt = at;
    const waitMs = Math.ceil(dueAt - this.owner.clock.now());
    this.ackTimer = this.owner.clock.setTimeout(LinkSupervisor.acknowledge, waitMs, this);
    this.ackTimer.unref();
  }

  private static acknowledge(supervisor: LinkSupervisor): void {
    supervisor.ackTimer = undefined;
    supervisor.ackAt = undefined;
    if (!supervisor.stopped) supervisor.owner.flush();
  }

  private setTimer(): void {
    const dueAt = Math.min(this.session.nextTimeout(), this.nextStallCheck());
    const at = Math.ceil(dueAt);
    // Only an earlier time needs a new timer: a later one is set when this one fires, so traffic costs no timers.
    if (at >= (this.timerAt ?? Number.POSITIVE_INFINITY)) return;
    this.owner.clock.clearTimeout(this.timer);
    this.timerAt = at;
    const waitMs = Math.max(0, Math.ceil(dueAt - this.owner.clock.now()));
    this.timer = this.owner.clock.setTimeout(LinkSupervisor.handleTimer, waitMs, this);
    this.timer.unref();
  }

  private nextStallCheck(): number {
    if (!this.watchesStalls) return Number.POSITIVE_INFINITY;
    // Reported once a stall: that it is over need not be noticed at once.
    return this.stallReported ? this.owner.clock.now() + STALL_CHECK_MS : this.session.stallsAt();
  }

  /** What the kernel received while the loop was busy is read first: a blocked loop must not declare its peers dead. */
  private static handleTimer(supervisor: LinkSupervisor): void {
    supervisor.timer = undefined;
    supervisor.timerAt = undefined;
    setImmediate(() => supervisor.handleTimeout());
  }

  private handleTimeout(): void {
    if (this.stopped) return;
    this.session.handleTimeout(this.owner.clock.now());
    this.checkLink();
    this.owner.flush();
  }

  private checkLink(): void {
    const now = this.owner.clock.now();
    const stalled = this.session.stalledLinks(now);
    if (stalled.length > 0) this.owner.handleLinksStalled(stalled);
    const state = this.session.linkState(now);
    if (state === 'dead') this.owner.handleLinkDead();
    else if (state === 'fine') this.stallReported = false;
    else if (state === 'suspect' && !this.stallReported && this.watchesStalls) {
      this.stallReported = true;
      this.owner.handleLinkStalled();
    }
  }
}

function bytesOf(message: Message): number {
  return message.reduce((sum, piece) => sum + piece.byteLength, 0);
}
