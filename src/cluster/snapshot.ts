/** All values of a bucket at once, for what does not follow it. */
import { AbortableWait } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Bucket, BucketValue } from './bus.ts';

const LIMIT_MS = 5_000;

/** The bucket must not be watched by anyone else. @throws WstunError cluster-away */
export async function snapshotOf(
  bucket: Bucket,
  clock: Clock = systemClock,
): Promise<ReadonlyMap<string, BucketValue>> {
  const wait = new AbortableWait<ReadonlyMap<string, BucketValue>>({
    clock,
    limitMs: LIMIT_MS,
    onExpired: () => wait.reject(new WstunError('cluster-away', 'no answer in time')),
  });
  bucket.watch({ handleSnapshot: (values) => wait.resolve(values), handleChange() {} });
  return await wait.promise;
}
