/** Clients and exits that try again sooner than they would, where a test is not about how long they wait. */
import { vi } from 'vitest';
import { Backoff } from '../../src/tunnel/backoff.ts';

/** Waits between attempts are this share of what they would be, until mocks are restored. */
export function hurryAttempts(share: number): void {
  const { next } = Backoff.prototype;
  vi.spyOn(Backoff.prototype, 'next').mockImplementation(function (this: Backoff, random) {
    return share * next.call(this, random);
  });
}
