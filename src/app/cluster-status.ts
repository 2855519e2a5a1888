/** What all relays of a cluster say of themselves, for whoever asks by NATS. */
import { statusSubject } from '../cluster/names.ts';
import { whenConnected } from '../cluster/waits.ts';
import { silentLogger } from '../observability/logger.ts';
import { nameOf, openBus } from './cluster.ts';
import type { ClusterPlace } from './cluster-place.ts';
import type { ServingStatus } from './status.ts';

/** In which they answer: one that takes longer is left out. */
const GATHER_MS = 500;

export interface RelayInCluster {
  /** 8 hex digits, of one process. */
  readonly node: string;
  /** By which exits and other relays reach it. */
  readonly url: string;
  readonly status: ServingStatus;
}

/** By their URLs. @throws WstunError bad-cluster, cluster-file-unusable, cluster-away */
export async function readClusterStatus(place: ClusterPlace): Promise<readonly RelayInCluster[]> {
  const bus = await openBus(place, 'wstun status', silentLogger);
  try {
    await whenConnected(bus);
    const answers = await bus.gather(statusSubject(nameOf(place)), new Uint8Array(0), GATHER_MS);
    return answers.flatMap(relayIn).sort((a, b) => (a.url < b.url ? -1 : 1));
  } finally {
    await bus.close();
  }
}

/** None for what another version may say. */
function relayIn(answer: Uint8Array): RelayInCluster[] {
  try {
    const { relay, status } = JSON.parse(Buffer.from(answer).toString('utf8')) as RelayAnswer;
    const isStatus = status.role === 'relay' && Array.isArray(status.peers) && Array.isArray(status.exits);
    return isStatus ? [{ node: String(relay.node), url: String(relay.url), status }] : [];
  } catch {
    return [];
  }
}

interface RelayAnswer {
  readonly relay: { readonly node: unknown; readonly url: unknown };
  readonly status: ServingStatus;
}
