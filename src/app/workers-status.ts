/** What the workers of a relay say of themselves, as the status of one relay. Pure but for the process's own number. */
import type { ServingStatus } from './status.ts';
import { packageVersion } from './version.ts';

/** As of one process. */
const MAX_PEERS = 1_000;

export function mergeStatus(listen: readonly string[], parts: readonly ServingStatus[]): ServingStatus {
  const peers = parts.flatMap((part) => part.peers).sort((a, b) => a.since - b.since);
  const refusals: Record<string, number> = {};
  for (const part of parts)
    for (const [reason, count] of Object.entries(part.refusals)) refusals[reason] = (refusals[reason] ?? 0) + count;
  return {
    role: 'relay',
    version: packageVersion(),
    pid: process.pid,
    startedAt: Math.min(Date.now(), ...parts.map(({ startedAt }) => startedAt)),
    listen,
    peers: peers.slice(0, MAX_PEERS),
    peerCount: parts.reduce((sum, { peerCount }) => sum + peerCount, 0),
    exits: parts.flatMap(({ exits }) => exits).sort((a, b) => a.since - b.since),
    refusals,
  };
}
