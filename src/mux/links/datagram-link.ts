/** By which of several links datagrams go: by one, because another could overtake it (docs/protocol.md §7.1). Pure. */
import { fastestLink } from './link-choice.ts';
import type { SessionLink } from './session-link.ts';

/** After such a pause, ms, nothing is on its way that another link could overtake. */
const PAUSE_MS = 1_000;

export class DatagramLink {
  /** @param link the only one so far: its datagrams may be on their way */
  constructor(
    private link: SessionLink | undefined,
    private usedAt: number,
  ) {}

  /** The one that is in use, for as long as it may carry frames; undefined where none is free now. */
  choose(
    links: readonly SessionLink[],
    isUsable: (link: SessionLink) => boolean,
    now: number,
  ): SessionLink | undefined {
    const { link } = this;
    const isKept = link !== undefined && links.includes(link) && now - this.usedAt < PAUSE_MS;
    // One that is only full for a moment is waited for.
    return isKept && (link.isFull || isUsable(link)) ? link : fastestLink(links, now, isUsable);
  }

  /** Datagrams go out by it. */
  use(link: SessionLink, now: number): void {
    this.link = link;
    this.usedAt = now;
  }
}
