/** A wait between attempts that can be ended early. */
import { AbortableWait } from '../../async/abortable.ts';
import type { Clock } from '../../clock.ts';

export class InterruptibleDelay {
  private current: AbortableWait<void> | undefined;

  constructor(private readonly clock: Clock) {}

  /** One at a time. */
  wait(ms: number): Promise<void> {
    if (ms <= 0) return Promise.resolve();
    this.current = new AbortableWait({ clock: this.clock, limitMs: ms, onExpired: (wait) => wait.resolve() });
    return this.current.promise;
  }

  /** Ends the current wait, if there is one. */
  interrupt(): void {
    this.current?.resolve();
  }
}
