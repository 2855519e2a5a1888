/**
 * Follows a session while nothing comes through its link, and tells of it: stall-watch.ts decides, this file looks at
 * the session and has the timer. Which links are dialled, and when else, is the caller's.
 */
import type { WstunError } from '../../errors.ts';
import type { SessionDriver } from './session-driver.ts';
import { type StallInfo, StallWatch } from './stall-watch.ts';

/** How often it is looked whether something has come through, ms; only while nothing does. */
const LOOK_MS = 250;

export interface StallEvents {
  /** Nothing comes through; again when more is known. */
  onStalled(info: StallInfo): void;
  /** Something comes through again. @param silentMs for how long nothing had; undefined where that was not told */
  onOver(silentMs: number | undefined): void;
  /** Another link may take the place of the present one. */
  onMayChange(): void;
}

export class StallFollower {
  private readonly driver: SessionDriver;
  private readonly events: StallEvents;
  private readonly watch = new StallWatch();
  private looks: NodeJS.Timeout | undefined;
  /** Another link has been asked for in place of the present one. */
  private asked = false;

  constructor(driver: SessionDriver, events: StallEvents) {
    this.driver = driver;
    this.events = events;
  }

  /** The present link stalls, and has had its time: another is to take its place. */
  get wantsChange(): boolean {
    return this.driver.isStalled && performance.now() >= this.watch.changeAt();
  }

  handleStalled(): void {
    this.watch.handleStalled(this.driver.waitingSince, performance.now());
    this.looks ??= setInterval(() => this.look(), LOOK_MS).unref();
    this.asked = false;
    this.askForChange();
  }

  handleLink(): void {
    this.asked = false;
    this.watch.handleLink(performance.now());
    if (this.watch.isStalled) this.driver.watchLengths();
  }

  handleFailed(error: WstunError): void {
    this.watch.handleFailed(error);
  }

  handleWake(): void {
    this.watch.handleWake();
  }

  handleLossTold(): void {
    this.watch.handleLossTold();
  }

  /** The session is over. */
  end(): void {
    this.stop();
  }

  private look(): void {
    const { driver, watch } = this;
    if (!driver.isAttached) return;
    if (driver.isFruitful) return this.events.onOver(this.stop());
    watch.handleReceived(driver.longestBytes);
    const info = watch.poll(performance.now());
    if (info !== undefined) this.events.onStalled(info);
    this.askForChange();
  }

  /** Once: whoever looks for a link goes on until there is one, at a pace of its own. */
  private askForChange(): void {
    if (this.asked || !this.wantsChange) return;
    this.asked = true;
    this.events.onMayChange();
  }

  private stop(): number | undefined {
    clearInterval(this.looks);
    this.looks = undefined;
    return this.watch.end(performance.now());
  }
}
