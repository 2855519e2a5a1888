import { expect, it } from 'vitest';
import { findRetired, shareRetired } from '../../src/cluster/retired-peers.ts';
import { createIdentity, formatPublicIdentity } from '../../src/crypto/keys.ts';
import { MemoryHub } from '../support/cluster/memory-bus.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const BUCKET = 'wstun-retired';
const peerOf = (name: string, role: 'client' | 'exit' = 'client') => ({ name, role, key: createIdentity().public });

function world() {
  const hub = new MemoryHub(new VirtualClock());
  const bus = hub.connect();
  return { hub, bus, bucket: bus.bucket(BUCKET) };
}

it('whose invites were valid with retired keys is found by those keys, and there is nothing secret in it', async () => {
  const { hub, bus, bucket } = world();
  const old = createIdentity();
  const peers = [peerOf('alice'), peerOf('home', 'exit')];
  await shareRetired(bucket, old.public, { until: 5, peers });
  const found = await findRetired(bucket, old.public);
  const plain = (list: typeof peers) => list.map(({ name, role, key }) => [name, role, formatPublicIdentity(key)]);
  expect(found?.until).toBe(5);
  expect(plain([...(found?.peers ?? [])] as typeof peers)).toEqual(plain(peers));
  expect(await findRetired(bucket, createIdentity().public)).toBeUndefined();
  const [[key = '', stored] = []] = [...hub.bucket(BUCKET)];
  expect(key).toMatch(/^[\w-]{43}$/);
  expect(Object.keys(JSON.parse(Buffer.from(stored?.value ?? []).toString()))).toEqual(['until', 'peers']);
  bus.cut();
  expect(await findRetired(bucket, old.public)).toBeUndefined();
});

it('a list of retired peers that is longer than a message of NATS is cut', async () => {
  const { hub, bucket } = world();
  const { public: old } = createIdentity();
  const peer = peerOf('a'.repeat(63));
  await shareRetired(bucket, old, { until: 5, peers: Array.from({ length: 10_000 }, () => peer) });
  expect(hub.written).toBeLessThan(1_000_000);
  expect((await findRetired(bucket, old))?.peers.length).toBeGreaterThan(3_000);
});

it('a value that is no list of retired peers counts as none', async () => {
  const { hub, bucket } = world();
  const { public: old } = createIdentity();
  const key = Buffer.from(old.gate).toString('base64url');
  for (const text of ['', 'null', '[]', '{"until":1}', '{"until":"1","peers":[]}', '{"until":1,"peers":[{}]}']) {
    hub.write(BUCKET, key, Buffer.from(text));
    expect(await findRetired(bucket, old), text).toBeUndefined();
  }
});
