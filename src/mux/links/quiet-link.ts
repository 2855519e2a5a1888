/** Keeps one of several links free of bulk while quiet streams send, so that they find no queue. Pure. */
import type { SessionLink } from './session-link.ts';

/** So long after a quiet stream has sent something, ms. */
const RESERVED_MS = 2_000;

/** Larger records are no keystrokes: the first one of a download goes as if its stream were quiet, too. */
const LARGEST_BYTES = 1_400;

/** With fewer links, one without bulk would cost too much. */
const LEAST_LINKS = 3;

export class QuietLink {
  private until = Number.NEGATIVE_INFINITY;
  private link: SessionLink | undefined;

  /** A quiet stream has sent a record of so many bytes. */
  note(bytes: number, now: number): void {
    if (bytes > LARGEST_BYTES) return;
    this.until = now + RESERVED_MS;
  }

  /** Quiet streams send. */
  isActive(now: number): boolean {
    return now < this.until;
  }

  /** The link that bulk is not to use now, if any. The same one for as long as it carries anything. */
  choose(links: readonly SessionLink[], now: number): SessionLink | undefined {
    if (!this.isActive(now) || links.length < LEAST_LINKS) return undefined;
    const usable = links.filter(({ isStalled, isFresh }) => !isStalled && isFresh);
    // The only one that carries anything must not be closed to bulk.
    if (usable.length < 2) return undefined;
    if (this.link === undefined || !usable.includes(this.link)) this.link = shortest(usable);
    return this.link;
  }
}

function shortest(links: readonly SessionLink[]): SessionLink | undefined {
  const [first] = [...links].sort((a, b) => minOf(a) - minOf(b));
  return first;
}

function minOf({ congestion, roundTripMs }: SessionLink): number {
  return congestion.minRttMs ?? roundTripMs;
}
