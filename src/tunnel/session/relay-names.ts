/**
 * Which of the URLs of an exit lead to the same relay: there it has one place, and its own links would drive each other
 * out. A relay says its id where it knows how to; of an older one, only the times say it. Pure: times are passed in.
 */

/** Of a relay without an id: a link that came so near to the end of another one has ended it, ms. */
const NEAR_MS = 5_000;

/** A relay may count a lost link of ours for so long, ms: it notices after 15 to 45 s that nothing comes. */
const GHOST_MS = 60_000;

interface Place {
  /** What the relay said on the latest link. */
  id?: string | undefined;
  /** When that link came, while it is there. */
  upAt?: number | undefined;
  /** When it was lost, if it had the place until then. */
  downAt?: number | undefined;
  /** Whose link has the place at the same older relay, as far as is known. */
  sharesWith?: number | undefined;
}

/** Who has the place of the exit at a relay: the link of which URL, another exit, or one of both. */
export type Holder = number | 'perhaps-own' | 'other-exit';

export class RelayNames {
  private readonly places: readonly Place[];

  /** @param count URLs; each is named by its position in the invite */
  constructor(count: number) {
    this.places = Array.from({ length: count }, () => ({}));
  }

  /** A control link has come. */
  handleUp(at: number, now: number): void {
    Object.assign(this.placeAt(at), { id: undefined, upAt: now });
  }

  handleInstance(at: number, id: string): void {
    this.placeAt(at).id = id;
  }

  /** It stands beside all others that stand now. */
  handleRegistered(at: number): void {
    const place = this.placeAt(at);
    if (place.sharesWith !== undefined && this.placeAt(place.sharesWith).upAt !== undefined)
      place.sharesWith = undefined;
  }

  /** @param hadPlace the relay did not say that another link has it */
  handleDown(at: number, now: number, hadPlace: boolean): void {
    Object.assign(this.placeAt(at), { upAt: undefined, downAt: hadPlace ? now : undefined });
  }

  /**
   * Whose link is to have the place that the one of `at` lost, or did not get; `at` itself, where it goes before the
   * one that has it.
   */
  holderInstead(at: number, lostAt: number): Holder {
    const lost = this.placeAt(at);
    const [first] = this.where((place, other) => place.upAt !== undefined && this.isSame(at, other, lostAt));
    if (first !== undefined && lost.id !== undefined) return Math.min(at, first);
    // An older relay would not say which of the two goes before the other.
    if (first !== undefined) lost.sharesWith = first;
    if (first !== undefined) return first;
    const ghosts = this.where(
      ({ downAt }, other) => downAt !== undefined && lostAt - downAt <= GHOST_MS && this.isSame(at, other, lostAt),
    );
    return ghosts.length > 0 ? 'perhaps-own' : 'other-exit';
  }

  /** Those whose links are there although a link of an earlier URL is at the same relay. */
  get doubles(): readonly number[] {
    return this.where(
      ({ id, upAt }, at) =>
        id !== undefined &&
        upAt !== undefined &&
        this.places.slice(0, at).some((earlier) => earlier.upAt !== undefined && earlier.id === id),
    );
  }

  /** Whether another URL leads to the relay of `at`, where a link was lost at that time. */
  private isSame(at: number, other: number, lostAt: number): boolean {
    if (other === at) return false;
    const [lost, { id, upAt, downAt }] = [this.placeAt(at), this.placeAt(other)];
    if (id !== lost.id || id !== undefined) return id === lost.id;
    const changedAt = upAt ?? downAt ?? Number.NEGATIVE_INFINITY;
    return lost.sharesWith === other || Math.abs(lostAt - changedAt) <= NEAR_MS;
  }

  private where(isMeant: (place: Place, at: number) => boolean): readonly number[] {
    return this.places.flatMap((place, at) => (isMeant(place, at) ? [at] : []));
  }

  private placeAt(at: number): Place {
    return this.places[at] ?? {};
  }
}
