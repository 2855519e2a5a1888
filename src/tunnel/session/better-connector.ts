/** The preferred connector, while a session's link is by another one, and when it is tried again. */
import type { Clock, Timer } from '../../clock.ts';
import type { SessionDialer } from '../dial/session-dialer.ts';

/** It may have failed by chance: a packet or a connection was lost. It costs a dial each time. */
const TRY_BETTER_MS = 3_000;
/** So often the pause doubles while it does not work: up to 384 s. A change of the network does not wait for it. */
const MOST_DOUBLINGS = 7;

export class BetterConnector {
  private readonly delayMs: number;
  private current: SessionDialer | undefined;
  /** Until `current` is due. */
  private timer: Timer | undefined;
  /** In a row. */
  private failures = 0;

  /** @param onDue its time has come */
  constructor(
    private readonly clock: Clock,
    delayMs: number | undefined,
    private readonly onDue: () => void,
  ) {
    this.delayMs = delayMs ?? TRY_BETTER_MS;
  }

  get dialer(): SessionDialer | undefined {
    return this.current;
  }

  get isDue(): boolean {
    return this.current !== undefined && this.timer === undefined;
  }

  /** It was tried, and did not work. */
  noteFailed(): void {
    this.failures = Math.min(this.failures + 1, MOST_DOUBLINGS);
  }

  /** A link by it was lost. @param hasLasted not at once */
  noteLost(hasLasted: boolean): void {
    if (hasLasted) this.reset();
    else this.noteFailed();
  }

  /** It works, or there may be another network. */
  reset(): void {
    this.failures = 0;
  }

  /** It is due some time from now; undefined where there is none. */
  set(dialer: SessionDialer | undefined): void {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
    this.current = dialer;
    if (dialer === undefined) return;
    this.timer = this.clock.setTimeout(
      () => {
        this.timer = undefined;
        this.onDue();
      },
      this.delayMs * 2 ** this.failures,
    );
    this.timer.unref();
  }
}
