/**
 * In which order, and when, connections to the addresses of one name are begun ("Happy Eyeballs", RFC 8305 §4 and §5).
 * Pure: it knows no sockets, and time is passed in; what an address is, is the caller's.
 */

/** How long an address is alone in the race before the next joins, ms: RFC 8305 §5, "Connection Attempt Delay". */
export const ATTEMPT_DELAY_MS = 250;
/** Addresses tried for one name; also the sockets that a race can hold at once. Three of each family, and to spare. */
export const MAX_ATTEMPTS = 8;

/** RFC 8305 §4: two families in turn, each in its own order. */
export function alternate<A>(first: readonly A[], second: readonly A[]): A[] {
  const mixed: A[] = [];
  for (let i = 0; i < Math.max(first.length, second.length); i++) {
    mixed.push(...first.slice(i, i + 1), ...second.slice(i, i + 1));
  }
  return mixed;
}

/**
 * One race. Calling order: `poll` at the start, after each `handleFailed`, and at `nextTimeout`, until it gives
 * nothing; what it gives is to be begun at once. Whoever connects first has won, which ends the race: there is nothing
 * to call for it.
 */
export class ConnectionRace<A> {
  private readonly waiting: A[] = [];
  private begun = 0;
  private running = 0;
  private nextAt = Number.NEGATIVE_INFINITY;

  /** @param addresses in the order in which they are to join; those beyond MAX_ATTEMPTS are left out */
  constructor(addresses: readonly A[]) {
    this.add(addresses);
  }

  /** More of them, which have become known late. */
  add(addresses: readonly A[]): void {
    this.waiting.push(...addresses.slice(0, MAX_ATTEMPTS - this.begun - this.waiting.length));
  }

  /** The address whose attempt begins now, if one does. */
  poll(now: number): A | undefined {
    if (now < this.nextAt) return undefined;
    const address = this.waiting.shift();
    if (address === undefined) return undefined;
    this.begun += 1;
    this.running += 1;
    this.nextAt = now + ATTEMPT_DELAY_MS;
    return address;
  }

  /** An attempt has failed: the next need not wait. */
  handleFailed(): void {
    this.running -= 1;
    this.nextAt = Number.NEGATIVE_INFINITY;
  }

  /** When `poll` gives the next address; Infinity where there is none. */
  nextTimeout(): number {
    return this.waiting.length === 0 ? Number.POSITIVE_INFINITY : this.nextAt;
  }

  /** All have failed. */
  get isLost(): boolean {
    return this.running === 0 && this.waiting.length === 0;
  }
}
