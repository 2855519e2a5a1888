/** Which access list a command means: that of a state directory, or with `--cluster` that of a cluster. */
import type { OpenClusterAccess } from '../app/cluster-access.ts';
import type { ClusterPlace } from '../app/cluster-place.ts';
import { accessFile, isInviteDead } from '../app/invites.ts';
import { WstunError } from '../errors.ts';
import type { AccessEntry } from '../state/access-list.ts';
import { openExistingStateDir, type StateDir } from '../state/state-dir.ts';
import { readUsage } from '../state/usage-file.ts';
import { findState, type StateOption } from './find-state.ts';

/** A relay that has its list in a cluster keeps a copy of it. */
const CLUSTER_COPY = 'cluster-access.toml';

export interface ClusterTexts {
  readonly cluster?: readonly string[];
  readonly clusterName?: string;
  readonly clusterCreds?: string;
  readonly clusterCa?: string;
}

export interface Access extends Pick<OpenClusterAccess, 'list' | 'usage' | 'forgetExit' | 'retire'> {
  /** Whether the invite was void before: its keys, or those of its relay or exit, were rotated. */
  isDead(entry: AccessEntry): Promise<boolean>;
}

/** Undefined without `--cluster`. */
export function clusterPlaceOf({ cluster, ...more }: ClusterTexts): ClusterPlace | undefined {
  if (cluster === undefined) return undefined;
  const { clusterName: name, clusterCreds: credsFile, clusterCa: caFile } = more;
  return {
    servers: cluster,
    ...(name !== undefined && { name }),
    ...(credsFile !== undefined && { credsFile }),
    ...(caFile !== undefined && { caFile }),
  };
}

/** Without `--cluster` in the directory that the options or this machine have. */
export async function withAccess<T>(
  options: StateOption & ClusterTexts,
  work: (access: Access) => Promise<T>,
): Promise<T> {
  const place = clusterPlaceOf(options);
  if (place !== undefined) return await withCluster(place, undefined, work);
  return await withFile(await openExistingStateDir(findState(options)), work);
}

/** The directory has the keys with which invites are made, also of a cluster. */
export async function withAccessOf<T>(
  state: StateDir,
  options: ClusterTexts,
  work: (access: Access) => Promise<T>,
): Promise<T> {
  const place = clusterPlaceOf(options);
  return await (place === undefined ? withFile(state, work) : withCluster(place, state, work));
}

async function withFile<T>(state: StateDir, work: (access: Access) => Promise<T>): Promise<T> {
  if ((await state.size(CLUSTER_COPY)) > 0)
    throw new WstunError('bad-option', `the relay of ${state.path} has its access list in a cluster`, {
      fix: `Add --cluster nats://HOST:PORT. If the relay is in none any more, delete ${state.pathOf(CLUSTER_COPY)}.`,
    });
  return await work({
    list: accessFile(state),
    usage: (now) => readUsage(state, now),
    forgetExit: async () => {},
    retire: async () => {},
    isDead: (entry) => isInviteDead(state, entry),
  });
}

async function withCluster<T>(
  place: ClusterPlace,
  state: StateDir | undefined,
  work: (access: Access) => Promise<T>,
): Promise<T> {
  const { openClusterAccess } = await import('../app/cluster-access.ts');
  const { close, ...access } = await openClusterAccess(place);
  try {
    const isDead = async (entry: AccessEntry) => state !== undefined && (await isInviteDead(state, entry));
    return await work({ ...access, isDead });
  } finally {
    await close();
  }
}
