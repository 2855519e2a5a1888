/**
 * How many offers may be resolved and dialled at once. Who comes when all places are taken waits in line for a while, because an
 * honest program opens hundreds of connections in one go; targets that never answer hold a place for as long as a dial may take.
 */
import { WstunError } from '../errors.ts';

export interface DialPlaceLimits {
  /**
   * Of one bearer. Default 64: targets that never answer must not take every place of the exit. Each costs up to 8 sockets and
   * 10 KB.
   */
  readonly pendingPerBearer: number;
  /** Of all bearers together. Default 256: with 8 sockets each at worst 2,048 file descriptors. */
  readonly pendingTotal: number;
  /**
   * How long an offer waits for a place, ms. Default 4,000: with 5 s for the look-up and 10 s for the dial it is answered within
   * the 20 s for which a client waits. How many wait is bounded by the sessions' streams (about 200 bytes each).
   */
  readonly waitMs: number;
}

export const DEFAULT_DIAL_PLACE_LIMITS: DialPlaceLimits = { pendingPerBearer: 64, pendingTotal: 256, waitMs: 4_000 };

interface Waiter {
  readonly bearer: string;
  admit(): void;
}

export class DialPlaces {
  readonly #limits: DialPlaceLimits;
  /** Places taken, by bearer; a bearer without any has no entry. */
  readonly #taken = new Map<string, number>();
  readonly #waiting = new Set<Waiter>();
  #total = 0;

  constructor(limits: DialPlaceLimits) {
    this.#limits = limits;
  }

  get taken(): number {
    return this.#total;
  }

  /** Resolves when a place is the caller's. Rejects with `dial-busy` after the wait, `dial-cancelled` when the signal fires. */
  take(bearer: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(new WstunError('dial-cancelled'));
    if (this.#hasRoom(bearer)) {
      this.#occupy(bearer);
      return Promise.resolve();
    }
    return this.#wait(bearer, signal);
  }

  giveBack(bearer: string): void {
    const left = (this.#taken.get(bearer) ?? 0) - 1;
    if (left > 0) this.#taken.set(bearer, left);
    else this.#taken.delete(bearer);
    this.#total--;
    this.#admitNext();
  }

  #wait(bearer: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(limit);
        signal.removeEventListener('abort', onAbort);
        this.#waiting.delete(waiter);
      };
      const refuse = (fault: 'dial-busy' | 'dial-cancelled'): void => {
        settle();
        reject(new WstunError(fault));
      };
      const waiter: Waiter = {
        bearer,
        admit: () => {
          settle();
          this.#occupy(bearer);
          resolve();
        },
      };
      const onAbort = (): void => refuse('dial-cancelled');
      const limit = setTimeout(refuse, this.#limits.waitMs, 'dial-busy');
      signal.addEventListener('abort', onAbort);
      this.#waiting.add(waiter);
    });
  }

  /** The first in line for whom there is room: those of a bearer at its limit hold up no one else. */
  #admitNext(): void {
    if (this.#total >= this.#limits.pendingTotal) return;
    for (const waiter of this.#waiting) {
      if (this.#hasRoom(waiter.bearer)) return waiter.admit();
    }
  }

  #hasRoom(bearer: string): boolean {
    return this.#total < this.#limits.pendingTotal && (this.#taken.get(bearer) ?? 0) < this.#limits.pendingPerBearer;
  }

  #occupy(bearer: string): void {
    this.#taken.set(bearer, (this.#taken.get(bearer) ?? 0) + 1);
    this.#total++;
  }
}
