/** Who waits for the round trip of a ping, and until when. */
import { AbortableWait } from '../../async/abortable.ts';
import type { Clock } from '../../clock.ts';
import { type WireFaultName, WstunError } from '../../errors.ts';

export class SessionPings {
  private readonly waits = new Set<AbortableWait<number>>();

  constructor(private readonly clock: Clock) {}

  /** Rejects with `ping-lost` or the fault of the session's end. */
  add(limitMs: number, signal: AbortSignal): Promise<number> {
    const wait = new AbortableWait<number>({
      ...{ clock: this.clock, limitMs, signal },
      onExpired: (expired) => expired.reject(new WstunError('ping-lost')),
      onSettled: () => this.waits.delete(wait),
    });
    this.waits.add(wait);
    return wait.promise;
  }

  handlePong(roundTripMs: number): void {
    for (const wait of [...this.waits]) wait.resolve(roundTripMs);
  }

  /** The session is over. */
  end(fault: WireFaultName): void {
    for (const wait of [...this.waits]) wait.reject(new WstunError(fault));
  }
}
