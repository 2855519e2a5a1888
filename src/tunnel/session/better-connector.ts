/** The preferred connector, while a session's link is by another one, and when it is tried again. */
import type { Clock, Timer } from '../../clock.ts';
import type { SessionDialer } from '../dial/session-dialer.ts';

/** The current link works as well until then, and a connector that does not work costs a dial each time. */
const TRY_BETTER_MS = 30_000;

type State =
  | { readonly kind: 'none' }
  | { readonly kind: 'later'; readonly dialer: SessionDialer; readonly timer: Timer }
  /** It is time to try it. */
  | { readonly kind: 'due'; readonly dialer: SessionDialer };

const NONE: State = { kind: 'none' };

export class BetterConnector {
  private readonly clock: Clock;
  private readonly delayMs: number;
  private readonly onDue: () => void;
  private state: State = NONE;

  /** @param onDue its time has come */
  constructor(clock: Clock, delayMs: number | undefined, onDue: () => void) {
    this.clock = clock;
    this.delayMs = delayMs ?? TRY_BETTER_MS;
    this.onDue = onDue;
  }

  get dialer(): SessionDialer | undefined {
    return this.state.kind === 'none' ? undefined : this.state.dialer;
  }

  get isDue(): boolean {
    return this.state.kind === 'due';
  }

  /** It is due some time from now; undefined where there is none. */
  set(dialer: SessionDialer | undefined): void {
    if (this.state.kind === 'later') this.clock.clearTimeout(this.state.timer);
    this.state = NONE;
    if (dialer === undefined) return;
    const handleTimer = (): void => {
      this.state = { kind: 'due', dialer };
      this.onDue();
    };
    const timer = this.clock.setTimeout(handleTimer, this.delayMs);
    timer.unref();
    this.state = { kind: 'later', dialer, timer };
  }
}
