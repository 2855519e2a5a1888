/** The relays of a client: which there are, best first, and in which order a dial takes them. Pure. */

/** As many as an invite holds. */
const MAX_RELAYS = 8;

/** What a dial knows of where its session is. */
export interface RelayHints {
  /** Has carried last in this network. */
  readonly carried?: string | undefined;
  /** No other one has the session, as far as is known. */
  readonly home?: string | undefined;
  /** Its latest link brought no answer of the exit. */
  readonly silent?: string | undefined;
  /** Takes no session, or the link by it carries nothing any more. */
  readonly last?: string | undefined;
}

export class RelayList {
  private current: readonly string[];

  /** @param invited those of the invite, best first; at least one */
  constructor(private readonly invited: readonly string[]) {
    this.current = invited;
  }

  /** The best first. */
  get all(): readonly string[] {
    return this.current;
  }

  /** Those of the invite. */
  get own(): readonly string[] {
    return this.invited;
  }

  /**
   * Those that an exit has told come first, in its order; then those of the invite that are not among them.
   * @param told without duplicates. Returns false where nothing has changed.
   */
  learn(told: readonly string[]): boolean {
    const next = [...told, ...this.invited.filter((relay) => !told.includes(relay))].slice(0, MAX_RELAYS);
    const isSame = next.length === this.current.length && next.every((relay, at) => relay === this.current[at]);
    if (!isSame) this.current = next;
    return !isSame;
  }

  /** Those that come before it; all others, if it is not among them any more. */
  better(relay: string): readonly string[] {
    const at = this.current.indexOf(relay);
    return at < 0 ? this.current : this.current.slice(0, at);
  }

  /** All of them, the first to try first. */
  inOrder({ carried, home, silent, last }: RelayHints = {}): readonly string[] {
    const first = home ?? (carried === last || carried === silent ? undefined : carried);
    const ranks = [first, undefined, silent, last];
    const rank = (relay: string): number => (ranks.includes(relay) ? ranks.indexOf(relay) : 1);
    return this.current.toSorted((a, b) => rank(a) - rank(b));
  }
}
