/**
 * A session through whose link nothing comes, as its client sees it: when another link may replace one that carries
 * nothing, what is reported, and when it is over. Pure: time is passed in; links and sessions are the caller's.
 *
 * A link is proven when the exit acknowledges something on it. Each begins with a ping, so there is always something to
 * acknowledge; the exit's retransmissions come before the acknowledgement, so a path that loses them loses both.
 */
import type { WstunError } from '../../errors.ts';

/** Reported after so much silence, ms, and not before a second link, which mostly helps, has had half of it. */
const REPORT_AFTER_MS = 6_000;
const SECOND_LINK_MS = 3_000;
/**
 * So many links in a row may replace each other as soon as they stall. From then on each is kept for longer: a kernel
 * that searches for the packet size which the path carries (tcp_mtu_probing) begins anew on each connection, and needs
 * 3 to 7 s.
 */
const QUICK_LINKS = 3;
/** Doubles with each further link, and stays below the silence after which a link counts as lost (45 s), ms. */
const KEEP_LINK_MS = 10_000;
const LONGEST_KEEP_LINK_MS = 40_000;
/** A message of at most so many bytes fits one packet of any path (RFC 8200 §5: 1,280), with all headers. */
const SHORT_BYTES = 1_100;
/** Links that open and then carry nothing, before that is reported. */
const ENOUGH_LINKS = 2;

export interface StallInfo {
  /** For how long nothing has come through, ms. */
  readonly silentMs: number;
  /** That have opened since, and carried nothing. */
  readonly links: number;
  /** The exit has resumed the session on some of these links, but only short messages were received. */
  readonly onlyShort: boolean;
  /** Why the last attempt made no link, if it failed. */
  readonly error: WstunError | undefined;
}

interface Stall {
  /** When something came through the last time. */
  readonly since: number;
  readonly noticedAt: number;
  links: number;
  linkedAt: number;
  longestBytes: number;
  error: WstunError | undefined;
  reported: 'nothing' | 'silence' | 'only-short';
}

export class StallWatch {
  private stall: Stall | undefined;

  get isStalled(): boolean {
    return this.stall !== undefined;
  }

  /** The link stalls. @param since when something came through the last time */
  handleStalled(since: number, now: number): void {
    this.stall ??= {
      since,
      noticedAt: now,
      links: 0,
      linkedAt: now,
      longestBytes: 0,
      error: undefined,
      reported: 'nothing',
    };
  }

  /** Another link carries the session. */
  handleLink(now: number): void {
    if (this.stall === undefined) return;
    this.stall.links += 1;
    this.stall.linkedAt = now;
    this.stall.error = undefined;
  }

  /** An attempt made no link. */
  handleFailed(error: WstunError): void {
    if (this.stall !== undefined) this.stall.error = error;
  }

  /** @param bytes the longest message that was received on the current link */
  handleReceived(bytes: number): void {
    if (this.stall !== undefined && this.stall.links > 0) {
      this.stall.longestBytes = Math.max(this.stall.longestBytes, bytes);
    }
  }

  /** The network has changed: what was learnt of it no longer holds, and the next link need not wait. */
  handleNetworkChanged(): void {
    if (this.stall !== undefined) this.stall.links = 0;
  }

  /** The loss of the link was reported, in place of its silence. */
  handleLossReported(): void {
    if (this.stall !== undefined) this.stall.reported = 'nothing';
  }

  /** Something has come through, or the session is over. For how long nothing did, ms, if that was reported. */
  end(now: number): number | undefined {
    const { stall } = this;
    this.stall = undefined;
    return stall === undefined || stall.reported === 'nothing' ? undefined : now - stall.since;
  }

  /** When another link may replace the current one. */
  changeAt(): number {
    const { links, linkedAt } = this.stall ?? { links: 0, linkedAt: 0 };
    if (links < QUICK_LINKS) return Number.NEGATIVE_INFINITY;
    return linkedAt + Math.min(KEEP_LINK_MS * 2 ** (links - QUICK_LINKS), LONGEST_KEEP_LINK_MS);
  }

  /** What is to be reported now, if anything: once, and again when more is known. */
  poll(now: number): StallInfo | undefined {
    const { stall } = this;
    if (stall === undefined) return undefined;
    const { since, noticedAt, links, error } = stall;
    // The latest link counts like those before it when it has had as much time.
    const onlyShort = links > ENOUGH_LINKS && stall.longestBytes <= SHORT_BYTES;
    const isDue = now >= Math.max(since + REPORT_AFTER_MS, noticedAt + SECOND_LINK_MS);
    const known = onlyShort ? 'only-short' : 'silence';
    if (!isDue || stall.reported === known || stall.reported === 'only-short') return undefined;
    stall.reported = known;
    return { silentMs: now - since, links, onlyShort, error };
  }
}
