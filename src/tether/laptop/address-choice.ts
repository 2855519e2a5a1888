/**
 * At which of its addresses a laptop serves the page, as they come and go. Pure, with time passed in.
 *
 * An address is kept while it exists and no better one is there: a phone that paired finds the page at no other. And it
 * is given up with care, as each move shows a new code: what is missing may be back in a moment, and what flaps is
 * followed ever more slowly.
 *
 * Order of calls: `begin` once; then at each look at the machine `handleLook` and, as long as that is due, `pollStep`,
 * whose step is answered by `handleServed` or `handleRefused` before the next look.
 */
import type { LanAddress } from './lan-address.ts';
import { ADDRESS_GONE_MS, ADDRESS_MOVES_MS, ADDRESS_SETTLE_MS, MAX_ADDRESS_SETTLE_MS } from './tether-limits.ts';

export interface AddressStep {
  /** To be served at from now on; undefined: there is none. */
  readonly address: string | undefined;
}

interface PendingStep extends AddressStep {
  /** Infinity: refused, until the next look. */
  readonly due: number;
}

/** Times are milliseconds of any clock that does not run backwards. */
export class AddressChoice {
  private chosen: string | undefined;
  private pending: PendingStep | undefined;
  /** All addresses of the last look at which the current one was there. */
  private beside: ReadonlySet<string> = new Set();
  private isThere = false;
  /** When it moved, of late. */
  private moves: readonly number[] = [];

  get current(): string | undefined {
    return this.chosen;
  }

  /** At the start nobody has seen a code yet: the likeliest, at once. @param found the likeliest first */
  begin(found: readonly LanAddress[]): string | undefined {
    this.chosen = found[0]?.address;
    this.note(found);
    return this.chosen;
  }

  handleLook(found: readonly LanAddress[], now: number): void {
    const address = this.bestOf(found);
    const before = this.pending;
    if (address === this.chosen) this.pending = undefined;
    else if (before === undefined || before.address !== address)
      this.pending = { address, due: now + this.waitFor(address, now) };
    else if (before.due === Number.POSITIVE_INFINITY) this.pending = { address, due: now };
    this.note(found);
  }

  /** Somebody waits for it: what is about to be done is due. */
  hurry(now: number): void {
    if (this.pending !== undefined) this.pending = { ...this.pending, due: Math.min(now, this.pending.due) };
  }

  /** When `pollStep` has something, if nothing else happens. */
  pollTimeout(): number | undefined {
    return this.pending?.due === Number.POSITIVE_INFINITY ? undefined : this.pending?.due;
  }

  pollStep(now: number): AddressStep | undefined {
    if (this.pending === undefined || now < this.pending.due) return undefined;
    return { address: this.pending.address };
  }

  handleServed(address: string | undefined, now: number): void {
    this.chosen = address;
    this.pending = undefined;
    if (address !== undefined) this.moves = [...this.movesOfLate(now), now];
  }

  /** The step cannot be taken now. */
  handleRefused(): void {
    if (this.pending !== undefined) this.pending = { ...this.pending, due: Number.POSITIVE_INFINITY };
    if (!this.isThere) this.chosen = undefined;
  }

  /** The current one while it is there, unless another is really better. */
  private bestOf(found: readonly LanAddress[]): string | undefined {
    const [best] = found;
    const current = found.find(({ address }) => address === this.chosen);
    if (best === undefined || current === undefined) return best?.address;
    return best.rank < current.rank ? best.address : current.address;
  }

  private waitFor(address: string | undefined, now: number): number {
    const settleMs = Math.min(MAX_ADDRESS_SETTLE_MS, ADDRESS_SETTLE_MS * 2 ** this.movesOfLate(now).length);
    // A new address says that this is another network. With one that was there all the time the current one may be
    // back.
    const mayBeBack = address === undefined || this.beside.has(address);
    return this.chosen === undefined || !mayBeBack ? settleMs : Math.max(ADDRESS_GONE_MS, settleMs);
  }

  private movesOfLate(now: number): readonly number[] {
    return this.moves.filter((at) => now - at < ADDRESS_MOVES_MS);
  }

  private note(found: readonly LanAddress[]): void {
    this.isThere = found.some(({ address }) => address === this.chosen);
    if (this.isThere) this.beside = new Set(found.map(({ address }) => address));
  }
}
