/** Clients and exits that try again sooner than they would, where a test is not about how long they wait. */
import { vi } from 'vitest';
import { Backoff, ExponentialDelays } from '../../../src/tunnel/reconnect/backoff.ts';

const backoff = Backoff.prototype.next;
const pauses = ExponentialDelays.prototype.next;

/** Waits between attempts are this share of what they would be, until mocks are restored. */
export function hurryAttempts(share: number): void {
  vi.spyOn(Backoff.prototype, 'next').mockImplementation(function (this: Backoff, ...given) {
    return share * backoff.call(this, ...given);
  });
  vi.spyOn(ExponentialDelays.prototype, 'next').mockImplementation(function (this: ExponentialDelays, ...given) {
    return share * pauses.call(this, ...given);
  });
}
