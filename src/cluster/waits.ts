/** Waits of commands, which ask once and follow nothing. */
import { AbortableWait } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Bucket, BucketValue, Bus } from './bus.ts';

const LIMIT_MS = 5_000;

/** @throws WstunError with the fault of the bus, or cluster-away */
export async function whenConnected(bus: Bus, clock: Clock = systemClock): Promise<void> {
  const isConnected = () => bus.state.connectedSince !== undefined;
  if (isConnected()) return;
  const wait = new AbortableWait<void>({
    clock,
    limitMs: LIMIT_MS,
    onExpired: () => wait.reject(bus.state.fault ?? new WstunError('cluster-away', 'no answer in time')),
  });
  bus.onState(() => {
    if (isConnected()) wait.resolve();
  });
  await wait.promise;
}

/** All values of a bucket at once. It must not be watched by anyone else. @throws WstunError cluster-away */
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
