/**
 * Whose invites were valid with keys that all relays of a cluster have replaced: a bucket with one value for each of
 * them, which has public keys only. A relay that gets the new keys as a copy finds here what to tell those who have old
 * invites. The keys themselves never go over the bus.
 */
import { formatPublicIdentity, type PublicIdentity, parsePublicIdentity } from '../crypto/keys.ts';
import { WstunError } from '../errors.ts';
import type { RetiredPeer } from '../state/retired-keys.ts';
import type { Bucket } from './bus.ts';

/** What NATS carries in a message, with room for its own part. Beyond, names are left out: it only explains. */
const MAX_BYTES = 900_000;

/** As long as retired keys are kept (state/retired-keys.ts). */
export const RETIRED_MAX_AGE_MS = 30 * 86_400_000;

export interface RetiredList {
  /** Milliseconds since 1970. */
  readonly until: number;
  readonly peers: readonly RetiredPeer[];
}

/** @throws WstunError cluster-away */
export async function shareRetired(bucket: Bucket, retired: PublicIdentity, list: RetiredList): Promise<void> {
  await bucket.put(keyOf(retired), format(list));
}

/** Undefined where nothing is known, or cannot be. Never rejects. */
export async function findRetired(bucket: Bucket, retired: PublicIdentity): Promise<RetiredList | undefined> {
  try {
    const found = await bucket.get(keyOf(retired));
    return found && parse(found.value);
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    return undefined;
  }
}

function keyOf({ gate }: PublicIdentity): string {
  return Buffer.from(gate).toString('base64url');
}

function format({ until, peers }: RetiredList): Uint8Array {
  const kept: string[] = [];
  let bytes = 0;
  for (const { name, role, key } of peers) {
    const text = JSON.stringify({ name, role, key: formatPublicIdentity(key) });
    bytes += text.length + 1;
    if (bytes > MAX_BYTES) break;
    kept.push(text);
  }
  return Buffer.from(`{"until":${until},"peers":[${kept.join(',')}]}`);
}

/** Undefined for what has another form. */
function parse(value: Uint8Array): RetiredList | undefined {
  try {
    const { until, peers } = JSON.parse(Buffer.from(value).toString('utf8')) as Record<string, unknown>;
    if (typeof until !== 'number' || !Array.isArray(peers)) return undefined;
    return { until, peers: peers.map(peerOf) };
  } catch {
    return undefined;
  }
}

function peerOf(value: unknown): RetiredPeer {
  const { name, role, key } = value as Readonly<Record<string, unknown>>;
  return { name: String(name), role: role === 'exit' ? 'exit' : 'client', key: parsePublicIdentity(String(key)) };
}
