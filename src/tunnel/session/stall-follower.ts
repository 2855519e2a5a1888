/** Reports a session through whose link nothing comes, as stall-watch.ts decides. Dials nothing. */
import type { Clock, Timer } from '../../clock.ts';
import type { LinkSupervisor } from './link-supervisor.ts';
import { type StallInfo, StallWatch } from './stall-watch.ts';

/** How often the link is checked, ms; only while it stalls. */
const CHECK_MS = 250;

export interface StallEvents {
  /** Nothing comes through; called again when more is known. */
  onStalled(info: StallInfo): void;
  /** Something comes through again. @param silentMs for how long nothing did; undefined where that was not reported */
  onOver(silentMs: number | undefined): void;
  /** Another link may replace the current one. */
  onMayChange(): void;
}

export class StallFollower {
  readonly watch = new StallWatch();
  private timer: Timer | undefined;
  /** A replacement of the current link was requested. */
  private changeRequested = false;

  constructor(
    private readonly supervisor: LinkSupervisor,
    private readonly clock: Clock,
    private readonly events: StallEvents,
  ) {}

  /** The current link has stalled for long enough: another one should replace it. */
  get wantsChange(): boolean {
    return this.supervisor.isStalled && this.clock.now() >= this.watch.changeAt();
  }

  handleStalled(): void {
    this.watch.handleStalled(this.supervisor.waitingSince, this.clock.now());
    if (this.timer === undefined) this.setTimer();
    this.changeRequested = false;
    this.requestChange();
  }

  handleLink(): void {
    this.changeRequested = false;
    this.watch.handleLink(this.clock.now());
    if (this.watch.isStalled) this.supervisor.measureMessages();
  }

  /** The session is over, or something comes through: for how long nothing did, if that was reported, ms. */
  end(): number | undefined {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
    return this.watch.end(this.clock.now());
  }

  private setTimer(): void {
    this.timer = this.clock.setTimeout(StallFollower.handleTimer, CHECK_MS, this);
    this.timer.unref();
  }

  private static handleTimer(follower: StallFollower): void {
    follower.setTimer();
    follower.check();
  }

  private check(): void {
    const { supervisor, watch } = this;
    if (!supervisor.isAttached) return;
    if (supervisor.isProven) return this.events.onOver(this.end());
    watch.handleReceived(supervisor.longestMessageBytes);
    const info = watch.poll(this.clock.now());
    if (info !== undefined) this.events.onStalled(info);
    this.requestChange();
  }

  /** Once a link: after the request the caller dials until there is another link. */
  private requestChange(): void {
    if (this.changeRequested || !this.wantsChange) return;
    this.changeRequested = true;
    this.events.onMayChange();
  }
}
