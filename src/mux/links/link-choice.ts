/** Which of several links is to carry the next record: the one that will deliver it first. Pure. */
import type { SessionLink } from './session-link.ts';

/** TCP repairs a link whose oldest record is so much over its round trip, and takes about as long again. */
const REPAIR_WEIGHT = 2;

/** When a record that goes out now is likely to arrive, ms from now. */
function deliveryMs(link: SessionLink, now: number): number {
  const { congestion, roundTripMs } = link;
  const oneWayMs = (congestion.minRttMs ?? roundTripMs) / 2;
  const rate = congestion.deliveryRate;
  const drainMs = rate === undefined ? 0 : congestion.inFlightBytes / rate;
  const overdueMs = Math.max(0, link.ageMs(now) - roundTripMs);
  return Math.max(oneWayMs, drainMs - oneWayMs) + REPAIR_WEIGHT * overdueMs;
}

/** The first to deliver, of those that `mayCarry`. */
export function fastestLink(
  links: readonly SessionLink[],
  now: number,
  mayCarry: (link: SessionLink) => boolean,
): SessionLink | undefined {
  let best: SessionLink | undefined;
  let bestMs = Number.POSITIVE_INFINITY;
  for (const link of links) {
    if (!mayCarry(link)) continue;
    const ms = deliveryMs(link, now);
    if (best !== undefined && ms >= bestMs) continue;
    best = link;
    bestMs = ms;
  }
  return best;
}
