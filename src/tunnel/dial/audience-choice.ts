/**
 * For which relay the tickets are that go to each URL of an invite (docs/protocol.md §2.2, "Audience"): for the one of
 * that URL, unless the URL has turned out to be a second name of the relay that the invite's first URL names. It dials
 * nothing, and knows no keys.
 */
import { audienceOf } from '../../crypto/ticket.ts';
import { BoundedMap } from '../../limits/bounded-map.ts';

/** Between two attempts more on one way: they would double the requests of whoever is rejected. */
const TRY_OTHER_MS = 60_000;

/** URLs of which something is known. An invite has at most 8, but an exit may tell of others again and again. */
const MAX_URLS = 64;

export class AudienceChoice {
  private readonly audiences = new BoundedMap<string, bigint>(MAX_URLS);
  /** By the URL that is dialled: the one whose audience the next ticket there has. Default: its own. */
  private readonly next = new BoundedMap<string, string>(MAX_URLS);
  /** By way: when the other audience was tried at once. The oldest first. */
  private readonly triedAt = new Map<string, number>();

  /** @param first the invite's first URL */
  constructor(private readonly first: string) {}

  /** The URL whose audience the tickets to `relay` have: what has opened there, or the two in turn. */
  urlFor(relay: string): string {
    return this.next.get(relay) ?? relay;
  }

  audienceOf(url: string): bigint {
    const known = this.audiences.get(url);
    if (known !== undefined) return known;
    const audience = audienceOf(url);
    this.audiences.set(url, audience);
    return audience;
  }

  /**
   * What answers at `relay` has opened no link to a ticket with the audience of `url`, and has proved nothing. The URL
   * whose audience is to be tried at once; undefined: there is no other, or only the next dial tries it.
   * @param way by which `relay` was asked: what answers there may be something else than on another way
   */
  handleRejected(relay: string, url: string, way: string, now: number): string | undefined {
    if (this.audienceOf(relay) === this.audienceOf(this.first)) return undefined;
    const other = url === relay ? this.first : relay;
    this.next.set(relay, other);
    this.forgetBefore(now - TRY_OTHER_MS);
    const key = `${relay} ${way}`;
    if (this.triedAt.has(key)) return undefined;
    this.triedAt.set(key, now);
    return other;
  }

  /** A ticket with the audience of `url` has opened a link at `relay`. */
  handleOpened(relay: string, url: string): void {
    this.next.set(relay, url);
  }

  private forgetBefore(time: number): void {
    for (const [way, at] of this.triedAt) {
      if (at > time) break;
      this.triedAt.delete(way);
    }
  }
}
