/** What a peer may cost before its session ends: `peer-flood`, `window-exceeded` (docs/protocol.md §7, §9). Pure. */
import { TokenBucket } from '../limits/token-bucket.ts';
import type { MuxConfig } from './config.ts';

/** An honest peer may have in flight when a stream closes: OPENED, FINISH, RESET. DATA counts bytes, CREDIT is free. */
export const LATE_FRAMES_OF_STREAM = 3;

/** The peer may have reset a stream before it knows that it was refused: RESET. */
export const LATE_FRAMES_OF_REFUSED = 1;

export class PeerBudgets {
  readonly pings: TokenBucket;
  readonly noOps: TokenBucket;
  /** Full until they are used first: an idle session costs little. */
  private opensLeft: TokenBucket | undefined;
  private rapidResetsLeft: TokenBucket | undefined;
  private refusalsLeft: TokenBucket | undefined;
  /** Credit that streams still had when we reset them: so much DATA may be in flight. */
  private lateBytes = 0;

  constructor(
    private readonly config: MuxConfig,
    now: number,
  ) {
    this.pings = new TokenBucket(config.pingRate, now);
    this.noOps = new TokenBucket(config.noOpRate, now);
  }

  get opens(): TokenBucket {
    this.opensLeft ??= new TokenBucket(this.config.openRate, 0);
    return this.opensLeft;
  }

  get rapidResets(): TokenBucket {
    this.rapidResetsLeft ??= new TokenBucket(this.config.rapidResetRate, 0);
    return this.rapidResetsLeft;
  }

  get refusals(): TokenBucket {
    this.refusalsLeft ??= new TokenBucket(this.config.refusalRate, 0);
    return this.refusalsLeft;
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
