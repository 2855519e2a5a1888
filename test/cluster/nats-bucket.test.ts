/** What somebody who asks a bucket gets while its servers elect a leader, in virtual time and without NATS. */
import { expect, it } from 'vitest';
import { NatsBucket } from '../../src/cluster/nats-bucket.ts';
import type { Library } from '../../src/cluster/nats-connection.ts';
import type { NatsConnection } from '../../src/cluster/nats-library.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const NO_LEADER = [
  Object.assign(new Error('JetStream system temporarily unavailable'), { status: 503 }),
  Object.assign(new Error('jetstream is not enabled'), { name: 'JetStreamNotEnabled' }),
  Object.assign(new Error('no responders'), { name: 'NoResponders' }),
] as const;
const VALUE = Buffer.from('value');

/** A bucket that is open. @param answers of JetStream, the last of them again and again */
async function setUp(answers: readonly (Error | 'done')[]) {
  const clock = new VirtualClock();
  const faults: (string | undefined)[] = [];
  let asked = 0;
  const answer = async () => {
    const next = answers[Math.min(asked, answers.length - 1)];
    asked += 1;
    if (next instanceof Error) throw next;
    return { operation: 'PUT', value: VALUE, revision: 7 };
  };
  const streams = { info: async () => ({ config: { num_replicas: 3 } }) };
  const library = {
    jetstreamManager: async () => ({ streams, jetstream: () => {} }),
    Kvm: class {
      open = async () => ({ get: answer, create: answer });
    },
  } as unknown as Library;
  const onFault = (_: string, fault: { readonly fault: string } | undefined) => void faults.push(fault?.fault);
  const options = { replicas: undefined, logger: silentLogger, clock, onFault };
  const bucket = new NatsBucket('names', options, library);
  bucket.handleUp({} as NatsConnection);
  await clock.advance(1);
  faults.length = 0;
  return { bucket, clock, faults, asked: () => asked };
}

it.each(NO_LEADER)('a change waits until the servers have a leader: %s', async (error) => {
  const { bucket, clock, faults } = await setUp([error, error, error, 'done']);
  const created = bucket.create('alice', VALUE);
  await clock.advance(1_500);
  expect(await created).toBe(true);
  expect(faults).toEqual([]);
});

it.each(NO_LEADER)('a question that finds no leader for 4 s fails, and the bucket has a fault: %s', async (error) => {
  const { bucket, clock, faults, asked } = await setUp([error]);
  const found = bucket.get('alice').catch((fault: unknown) => fault);
  await clock.advance(4_000);
  expect(await found).toMatchObject({ fault: 'cluster-away' });
  expect(faults).toEqual(['cluster-away']);
  expect(asked()).toBe(9);
});

it('a change that got no answer may have been made, and is not made again', async () => {
  const { bucket, asked } = await setUp([Object.assign(new Error('timeout'), { name: 'TimeoutError' })]);
  await expect(bucket.create('alice', VALUE)).rejects.toMatchObject({ fault: 'cluster-away' });
  expect(asked()).toBe(1);
});
