/** What the links of a session tell: their round trips, whether they are to stay, and how one has ended. */
import type { SessionLink } from '../../mux/links/session-link.ts';
import type { EndedLink, LinkEnd } from '../reconnect/link-limits.ts';

/** ms */
export interface RoundTrip {
  readonly now: number;
  readonly min: number;
}

/** Of the link with the shortest one now: the latest, smoothed, and the lowest. */
export function quickestOf(links: readonly SessionLink[]): RoundTrip | undefined {
  let quickest: RoundTrip | undefined;
  for (const { congestion } of links) {
    const { smoothedRttMs: now, minRttMs: min } = congestion;
    if (now === undefined || min === undefined || (quickest !== undefined && quickest.now <= now)) continue;
    quickest = { now, min: Math.min(now, min) };
  }
  return quickest;
}

/** Neither end wants to be without it, and it may carry more. */
export function isStaying({ isUnwanted, isPeerLeaving, isSpent }: SessionLink): boolean {
  return !isUnwanted && !isPeerLeaving && !isSpent;
}

export function endedLink(state: SessionLink, how: LinkEnd, now: number): EndedLink {
  const { receivedBytes: received, sentBytes: sent, beganAt, heardAt, sentAt } = state;
  const ageMs = (how === 'froze' ? heardAt : now) - beganAt;
  return { how, received, sent, ageMs, idleMs: now - Math.max(heardAt, sentAt), beganAt };
}
