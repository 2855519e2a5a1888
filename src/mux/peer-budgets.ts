/** What a peer may cost before its session ends: `peer-flood`, `window-exceeded` (docs/protocol.md §7, §9). Pure. */
import { TokenBucket } from '../limits/token-bucket.ts';
import type { MuxConfig } from './config.ts';

/** An honest peer may have in flight when a stream closes: OPENED, FINISH, RESET. DATA counts bytes, CREDIT is free. */
export const LATE_FRAMES_OF_STREAM = 3;

/** The peer may have reset a stream before it knows that it was refused: RESET. */
export const LATE_FRAMES_OF_REFUSED = 1;

export class PeerBudgets {
  readonly opens: TokenBucket;
  readonly rapidResets: TokenBucket;
  readonly refusals: TokenBucket;
  readonly pings: TokenBucket;
  readonly noOps: TokenBucket;
  /** Credit that streams still had when we reset them: so much DATA may be in flight. */
  private lateBytes = 0;

  constructor(config: MuxConfig, now: number) {
    this.opens = new TokenBucket(config.openRate, now);
    this.rapidResets = new TokenBucket(config.rapidResetRate, now);
    this.refusals = new TokenBucket(config.refusalRate, now);
    this.pings = new TokenBucket(config.pingRate, now);
    this.noOps = new TokenBucket(config.noOpRate, now);
  }

  allowLateBytes(bytes: number): void {
    this.lateBytes += bytes;
  }

  acquireLateBytes(bytes: number): boolean {
    this.lateBytes -= bytes;
    return this.lateBytes >= 0;
  }

  allowLateFrames(count: number): void {
    this.noOps.add(count);
  }
}
