/**
 * Chooses the address at which a laptop serves the page, as addresses come and go. Pure. An address is kept while it
 * exists and there is no better one: a paired phone finds the page at no other. Each move shows a new code, so it
 * waits: a missing address may return in a moment, and each recent move doubles the wait. Order of calls: `begin` once.
 * Then `handleLook` each time the addresses are read, and `pollStep` when it is due; `handleServed` or `handleRefused`
 * answers its step before the next look.
 */
import type { LanAddress } from './lan-address.ts';
import { ADDRESS_GONE_MS, ADDRESS_SETTLE_MS, MAX_ADDRESS_SETTLE_MS, RECENT_MOVE_MS } from './tether-limits.ts';

export interface AddressStep {
  /** The address to serve from now on; undefined: there is none. */
  readonly address: string | undefined;
}

interface PendingStep extends AddressStep {
  /** Infinity: it failed; due again at the next look. */
  readonly due: number;
}

/** Times are milliseconds of any clock that does not run backwards. */
export class AddressChoice {
  private chosen: string | undefined;
  private pending: PendingStep | undefined;
  /** All addresses of the last look at which the current one existed. */
  private alternatives: ReadonlySet<string> = new Set();
  private exists = false;
  /** Times of recent moves. */
  private moves: readonly number[] = [];

  get current(): string | undefined {
    return this.chosen;
  }

  /** Chooses the most likely address at once: nobody has seen a code yet. @param found the most likely first */
  begin(found: readonly LanAddress[]): string | undefined {
    this.chosen = found[0]?.address;
    this.noteFound(found);
    return this.chosen;
  }

  handleLook(found: readonly LanAddress[], now: number): void {
    const address = this.bestOf(found);
    const before = this.pending;
    if (address === this.chosen) this.pending = undefined;
    else if (before === undefined || before.address !== address)
      this.pending = { address, due: now + this.waitFor(address, now) };
    else if (before.due === Number.POSITIVE_INFINITY) this.pending = { address, due: now };
    this.noteFound(found);
  }

  /** A person is waiting: a pending step is due now. */
  skipWait(now: number): void {
    if (this.pending !== undefined) this.pending = { ...this.pending, due: Math.min(now, this.pending.due) };
  }

  /** When `pollStep` returns something, if nothing else happens. */
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
    if (address !== undefined) this.moves = [...this.recentMoves(now), now];
  }

  /** The step has failed. */
  handleRefused(): void {
    if (this.pending !== undefined) this.pending = { ...this.pending, due: Number.POSITIVE_INFINITY };
    if (!this.exists) this.chosen = undefined;
  }

  /** The current one while it exists, unless another has a better rank. */
  private bestOf(found: readonly LanAddress[]): string | undefined {
    const [best] = found;
    const current = found.find(({ address }) => address === this.chosen);
    if (best === undefined || current === undefined) return best?.address;
    return best.rank < current.rank ? best.address : current.address;
  }

  private waitFor(address: string | undefined, now: number): number {
    const settleMs = Math.min(MAX_ADDRESS_SETTLE_MS, ADDRESS_SETTLE_MS * 2 ** this.recentMoves(now).length);
    // A new address means another network. If the other address is an old one, the current one may return.
    const mayReturn = address === undefined || this.alternatives.has(address);
    return this.chosen === undefined || !mayReturn ? settleMs : Math.max(ADDRESS_GONE_MS, settleMs);
  }

  private recentMoves(now: number): readonly number[] {
    return this.moves.filter((at) => now - at < RECENT_MOVE_MS);
  }

  private noteFound(found: readonly LanAddress[]): void {
    this.exists = found.some(({ address }) => address === this.chosen);
    if (this.exists) this.alternatives = new Set(found.map(({ address }) => address));
  }
}
