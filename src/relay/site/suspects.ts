/**
 * What can be a ticket, and was rejected lately. To open a ticket takes time, which could be measured by a prober who
 * has seen one pass and repeats it: an unknown page is answered sooner. So a request with the same hint goes to the
 * upstream first, and is looked at while the upstream works. The very same text is not looked at again. Pure.
 */

/** Each rejection with another hint costs its sender a request. 0.4 KB each. */
const MAX_SUSPECTS = 1_024;
/** Characters of a hint; the last one has bits of what follows. */
const HINT_CHARS = 10;

export class Suspects {
  /** Hint to the latest text that is rejected for good, if any. */
  private readonly rejected = new Map<string, string | undefined>();

  has(ticket: string): boolean {
    return this.rejected.has(ticket.slice(0, HINT_CHARS));
  }

  /** It will be rejected whenever it comes. */
  isFinal(ticket: string): boolean {
    return this.rejected.get(ticket.slice(0, HINT_CHARS)) === ticket;
  }

  /** The one that was rejected longest ago is forgotten. */
  add(ticket: string, isFinal: boolean): void {
    const hint = ticket.slice(0, HINT_CHARS);
    const final = isFinal ? ticket : this.rejected.get(hint);
    this.rejected.delete(hint);
    this.rejected.set(hint, final);
    if (this.rejected.size <= MAX_SUSPECTS) return;
    for (const oldest of this.rejected.keys()) {
      this.rejected.delete(oldest);
      return;
    }
  }
}
