/**
 * A session through whose link nothing comes, as its client sees it: when the next link may take the place of one that
 * brings nothing, what of it is to be told, and when it is over. Pure: time is passed in; links and sessions are the
 * caller's.
 *
 * A link bears fruit when the exit acknowledges something on it. Each begins with a ping, so there is always something
 * to acknowledge; what the exit sends again comes before the acknowledgement, so a path that loses that loses both.
 */
import type { WstunError } from '../../errors.ts';

/**
 * Told after so much silence, ms, and not before a second link has had half of that: on most paths it has taken over by
 * then.
 */
const TELL_AFTER_MS = 6_000;
const SECOND_LINK_MS = 3_000;
/**
 * So many links in a row may take each other's place as soon as they stall. From then on each is left for longer: a
 * kernel that looks for the size of packets which the path carries (tcp_mtu_probing) begins anew on each connection,
 * and needs 3 to 7 s.
 */
const QUICK_LINKS = 3;
/** Doubles with each further link, and ends below the silence after which a link is lost (45 s), ms. */
const PATIENCE_MS = 10_000;
const LONGEST_PATIENCE_MS = 40_000;
/** A message of no more bytes fits one packet of any path (RFC 8200 §5: 1,280), with all headers. */
const SHORT_BYTES = 1_100;
/** Links that open and then bring nothing, before that is said. */
const ENOUGH_LINKS = 2;

export interface StallInfo {
  /** For which nothing has come through, ms. */
  readonly silentMs: number;
  /** That have opened since, and brought nothing. */
  readonly links: number;
  /**
   * The exit has let links of these resume the session, so that short messages pass; on none of them came a message
   * that is not short.
   */
  readonly onlyShort: boolean;
  /** Why the last attempt brought no link, if it did not. */
  readonly error: WstunError | undefined;
}

interface Stall {
  /** When something came through last. */
  readonly since: number;
  readonly noticedAt: number;
  links: number;
  linkedAt: number;
  longestBytes: number;
  error: WstunError | undefined;
  /** Whether it was told, and then with `onlyShort`. */
  told: 'nothing' | 'silence' | 'only-short';
}

export class StallWatch {
  private stall: Stall | undefined;

  get isStalled(): boolean {
    return this.stall !== undefined;
  }

  /** The link stalls. @param since when something came through last */
  handleStalled(since: number, now: number): void {
    this.stall ??= {
      since,
      noticedAt: now,
      links: 0,
      linkedAt: now,
      longestBytes: 0,
      error: undefined,
      told: 'nothing',
    };
  }

  /** Another link has taken over. */
  handleLink(now: number): void {
    if (this.stall === undefined) return;
    this.stall.links += 1;
    this.stall.linkedAt = now;
    this.stall.error = undefined;
  }

  /** An attempt brought no link. */
  handleFailed(error: WstunError): void {
    if (this.stall !== undefined) this.stall.error = error;
  }

  /** @param bytes the longest message that has come on the present link */
  handleReceived(bytes: number): void {
    if (this.stall !== undefined && this.stall.links > 0) {
      this.stall.longestBytes = Math.max(this.stall.longestBytes, bytes);
    }
  }

  /** The network has changed: what was learnt of it is void, and the next link need not wait. */
  handleWake(): void {
    if (this.stall !== undefined) this.stall.links = 0;
  }

  /** The loss of the link was told, in place of its silence. */
  handleLossTold(): void {
    if (this.stall !== undefined) this.stall.told = 'nothing';
  }

  /** Something has come through, or the session is over. For how long nothing had, ms, if that was told. */
  end(now: number): number | undefined {
    const { stall } = this;
    this.stall = undefined;
    return stall === undefined || stall.told === 'nothing' ? undefined : now - stall.since;
  }

  /** When another link may take the place of the present one. */
  changeAt(): number {
    const { links, linkedAt } = this.stall ?? { links: 0, linkedAt: 0 };
    if (links < QUICK_LINKS) return Number.NEGATIVE_INFINITY;
    return linkedAt + Math.min(PATIENCE_MS * 2 ** (links - QUICK_LINKS), LONGEST_PATIENCE_MS);
  }

  /** What is to be told now, if something is: once, and again when more is known. */
  poll(now: number): StallInfo | undefined {
    const { stall } = this;
    if (stall === undefined) return undefined;
    const { since, noticedAt, links, error } = stall;
    // The latest link is judged like those before it, when it has had as long.
    const onlyShort = links > ENOUGH_LINKS && stall.longestBytes <= SHORT_BYTES;
    const isDue = now >= Math.max(since + TELL_AFTER_MS, noticedAt + SECOND_LINK_MS);
    const known = onlyShort ? 'only-short' : 'silence';
    if (!isDue || stall.told === known || stall.told === 'only-short') return undefined;
    stall.told = known;
    return { silentMs: now - since, links, onlyShort, error };
  }
}
