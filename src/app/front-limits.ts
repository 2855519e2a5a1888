/** The limits of a relay's public side: of its option and its file, and its share of them beside other workers. */
import { DEFAULT_RELAY_LIMITS, type RelayLimits } from '../relay/relay-limits.ts';
import type { ProcessLimits } from '../state/limits-file.ts';
import type { RelayNode } from './relay-node.ts';

/** Connections of one address beyond an equal share that a node may have: five deviations of 64 by chance in two. */
const MORE_PER_SOURCE = 20;

/** The option goes before the file. Connections that are not links are spread over the nodes; links are counted. */
export function frontLimits(
  { links, pending, visitors, pending_per_address }: ProcessLimits,
  { maxPendingPerAddress }: { readonly maxPendingPerAddress?: number },
  node: Pick<RelayNode, 'count'> | undefined,
): Partial<RelayLimits> {
  const { pendingSockets, pendingPerSource, visitors: usualVisitors } = DEFAULT_RELAY_LIMITS;
  const share = (limit: number, more = 0) => (node === undefined ? limit : Math.ceil(limit / node.count) + more);
  const perSource = maxPendingPerAddress ?? pending_per_address ?? pendingPerSource;
  return {
    ...(links !== undefined && { links }),
    pendingSockets: share(pending ?? pendingSockets),
    visitors: share(visitors ?? usualVisitors),
    // Chance spreads those of one address less evenly.
    pendingPerSource: perSource === 0 ? 0 : share(perSource, MORE_PER_SOURCE),
  };
}
