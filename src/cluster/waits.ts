/** Waits of commands, which ask once and follow nothing. */
import { AbortableWait } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Bucket, BucketValue, Bus } from './bus.ts';

const LIMIT_MS = 5_000;
/** Between two looks at whether it is connected: a person waits. */
const LOOK_MS = 20;

/** @throws WstunError with the fault of the bus, at once where no other attempt would mend it, or cluster-away */
export async function whenConnected(bus: Bus, clock: Clock = systemClock): Promise<void> {
  const end = clock.now() + LIMIT_MS;
  while (bus.state.connectedSince === undefined) {
    const { fault } = bus.state;
    if (fault?.fault === 'cluster-refused') throw fault;
    if (clock.now() >= end) throw fault ?? new WstunError('cluster-away', 'no answer in time');
    await new Promise<void>((resolve) => clock.setTimeout(resolve, LOOK_MS));
  }
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
