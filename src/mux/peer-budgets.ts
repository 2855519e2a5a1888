/**
 * What a hostile peer may cost before the session ends with `peer-flood` or `window-exceeded` (docs/protocol.md §7,
 * §9). Pure.
 */
import type { MuxConfig } from './config.ts';
import { TokenBucket } from './token-bucket.ts';

/**
 * What an honest peer may have on its way when a stream closes here: OPENED, FINISH and RESET. DATA is counted in
 * bytes, and CREDIT is free.
 */
export const LATE_FRAMES_OF_STREAM = 3;

/** The opener of a stream that was refused at once may have given it up: RESET. */
export const LATE_FRAMES_OF_REFUSED = 1;

export class PeerBudgets {
  readonly opens: TokenBucket;
  readonly abandons: TokenBucket;
  readonly refusals: TokenBucket;
  readonly pings: TokenBucket;
  readonly useless: TokenBucket;
  /** Credit that streams still had when we reset them: DATA may be on its way for that much. */
  private lateBytes = 0;

  constructor(config: MuxConfig, now: number) {
    this.opens = new TokenBucket(config.openRate, now);
    this.abandons = new TokenBucket(config.abandonRate, now);
    this.refusals = new TokenBucket(config.refusalRate, now);
    this.pings = new TokenBucket(config.pingRate, now);
    this.useless = new TokenBucket(config.uselessRate, now);
  }

  allowLate(bytes: number): void {
    this.lateBytes += bytes;
  }

  takeLate(bytes: number): boolean {
    this.lateBytes -= bytes;
    return this.lateBytes >= 0;
  }

  allowLateFrames(count: number): void {
    this.useless.give(count);
  }
}
