/** What the workers of a relay say of themselves, as the status of one relay. Pure but for the process's own number. */
import type { PeerStatus, ServingStatus, Traffic } from './status.ts';
import { packageVersion } from './version.ts';

/** As of one process. */
const MAX_PEERS = 1_000;

export function mergeStatus(listen: readonly string[], parts: readonly ServingStatus[]): ServingStatus {
  const peers = mergePeers(parts.flatMap((part) => part.peers)).sort((a, b) => a.since - b.since);
  const refusals: Record<string, number> = {};
  for (const part of parts)
    for (const [reason, count] of Object.entries(part.refusals)) refusals[reason] = (refusals[reason] ?? 0) + count;
  // Each is connected on its own: one that is not says more than the others.
  const clusters = parts.flatMap((part) => (part.cluster === undefined ? [] : [part.cluster]));
  const cluster = clusters.find(({ awaySince }) => awaySince !== undefined) ?? clusters[0];
  return {
    role: 'relay',
    version: packageVersion(),
    pid: process.pid,
    startedAt: Math.min(Date.now(), ...parts.map(({ startedAt }) => startedAt)),
    listen,
    peers: peers.slice(0, MAX_PEERS),
    peerCount: parts.reduce((sum, part) => sum + part.peerCount - part.peers.length, peers.length),
    exits: parts.flatMap(({ exits }) => exits).sort((a, b) => a.since - b.since),
    ...(cluster && { cluster }),
    refusals,
  };
}

/** Links of one client that are forwarded are those of one peer, at whichever worker they are. */
function mergePeers(all: readonly PeerStatus[]): PeerStatus[] {
  const forwarded = new Map<string, PeerStatus>();
  const sessions: PeerStatus[] = [];
  for (const peer of all) {
    const key = `${peer.exit} ${peer.name} ${peer.address}`;
    const known = forwarded.get(key);
    if (peer.exit === undefined) sessions.push(peer);
    else forwarded.set(key, known === undefined ? peer : joined(known, peer));
  }
  return [...sessions, ...forwarded.values()];
}

function joined(one: PeerStatus, other: PeerStatus): PeerStatus {
  const since = Math.min(one.since, other.since);
  return { ...one, since, links: one.links + other.links, traffic: sumOf(one.traffic, other.traffic) };
}

function sumOf(one: Traffic, other: Traffic): Traffic {
  return {
    sent: one.sent + other.sent,
    received: one.received + other.received,
    sentPerSecond: one.sentPerSecond + other.sentPerSecond,
    receivedPerSecond: one.receivedPerSecond + other.receivedPerSecond,
  };
}
