/** The access list of a cluster, for commands: each connects for itself, and does not need a relay that runs here. */
import { ClusterAccess } from '../cluster/cluster-access.ts';
import { usageIn } from '../cluster/cluster-usage.ts';
import { accessBucket, exitsBucket, keyOfName, retiredBucket, usageBucket } from '../cluster/names.ts';
import { RETIRED_MAX_AGE_MS, type RetiredList, shareRetired } from '../cluster/retired-peers.ts';
import { snapshotOf, whenConnected } from '../cluster/waits.ts';
import type { PublicIdentity } from '../crypto/keys.ts';
import type { ListenRule } from '../exit/listen/listen-rules.ts';
import type { Rule } from '../exit/rules.ts';
import { silentLogger } from '../observability/logger.ts';
import type { AccessStore } from '../state/access-store.ts';
import type { Usage } from '../state/usage-file.ts';
import { nameOf, openBus, placeText } from './cluster.ts';
import type { ClusterPlace } from './cluster-place.ts';
import { RULE_PARSERS } from './invites.ts';

export interface OpenClusterAccess {
  /** Reads what the cluster has now. */
  readonly list: AccessStore<Rule, ListenRule>;
  /** Of all relays together. @throws WstunError cluster-away */
  usage(now: number): Promise<Usage>;
  /** The clients of that exit are unknown to relays at which it is not registered. @throws WstunError cluster-away */
  forgetExit(name: string): Promise<void>;
  /** These keys are retired at all relays that get the new ones. @throws WstunError cluster-away */
  retire(keys: PublicIdentity, list: RetiredList): Promise<void>;
  close(): Promise<void>;
}

/** @throws WstunError bad-cluster, bad-option, cluster-file-unusable, cluster-away, cluster-refused */
export async function openClusterAccess(place: ClusterPlace): Promise<OpenClusterAccess> {
  const bus = await openBus(place, 'wstun access', silentLogger);
  const name = nameOf(place);
  await whenConnected(bus).catch(async (error: unknown) => {
    await bus.close();
    throw error;
  });
  const access = new ClusterAccess(bus.bucket(accessBucket(name)), {
    place: placeText(name),
    parsers: RULE_PARSERS,
    faultNow: () => bus.state.fault,
  });
  const list: AccessStore<Rule, ListenRule> = {
    place: access.place,
    // The bucket has them in the order of their last changes.
    read: async () => [...(await access.readNow())].sort((a, b) => (a.name < b.name ? -1 : 1)),
    add: (entry) => access.add(entry),
    replaceKeys: (keys) => access.replaceKeys(keys),
    change: (entry, change) => access.change(entry, change),
    remove: (entry) => access.remove(entry),
  };
  return {
    list,
    usage: async (now) => usageIn(await snapshotOf(bus.bucket(usageBucket(name))), now),
    forgetExit: async (exit) => void (await bus.bucket(exitsBucket(name)).remove(keyOfName(exit))),
    retire: (keys, retired) => {
      const bucket = bus.bucket(retiredBucket(name), { maxAgeMs: RETIRED_MAX_AGE_MS });
      return shareRetired(bucket, keys, retired);
    },
    close: () => bus.close(),
  };
}
