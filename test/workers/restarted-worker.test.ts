/** What the gate of a worker that starts beside others knows of exits that are registered at these. */
import { expect, it } from 'vitest';
import { AccessControl } from '../../src/app/access-control.ts';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketSealer } from '../../src/crypto/ticket.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { Hub } from '../../src/workers/hub.ts';
import type { Envelope } from '../../src/workers/messages.ts';
import { WorkerNode } from '../../src/workers/worker-node.ts';
import { newRouter } from '../support/app/router.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const CLIENT = { role: 'client', destination: 'home', protocol: 1, features: 0 } as const;

async function setUp(exits: readonly string[]) {
  const [relay, alice] = [createIdentity(), createIdentity()];
  const directory = await tempDir();
  const hub = new Hub({ onReady: () => {} });
  const worker = async (id: string): Promise<WorkerNode> => {
    const toHub = hub.add(id, (envelope) => queueMicrotask(() => node.receive(envelope)));
    const node: WorkerNode = new WorkerNode({
      ...{ id, directory, logger: silentLogger, onClose() {}, onReload() {} },
      post: (envelope: Envelope) => queueMicrotask(() => toHub(envelope)),
      report: async () => undefined,
    });
    await node.start();
    atEnd(() => node.stop());
    return node;
  };
  const one = await worker('0001');
  one.shareKeys('home', [Buffer.from(alice.public.gate).toString('base64url')]);
  const two = await worker('0101');
  // What the hub says to a worker that starts comes in this order.
  one.announce('home');
  await until(() => two.isElsewhere('home'));
  const access = new AccessControl();
  const router = await newRouter({ keys: { identity: relay, retired: [] }, access, rendezvous: two });
  const admit = (names: readonly string[]) => {
    const entry = { role: 'exit', key: createIdentity().public, allow: [] } as const;
    const entries = names.map((name) => ({ ...entry, name, rules: [], listenRules: [] }));
    router.admit(access.replace(entries));
  };
  admit(exits);
  router.restoreExits();
  const sealer = new TicketSealer(alice, relay.public.gate);
  return { admit, open: () => router.open(sealer.seal(CLIENT, Date.now()), Date.now(), {}) };
}

it('a worker that starts admits the clients of an exit that is at another worker', async () => {
  const { open } = await setUp(['home']);
  expect(open()).toMatchObject({ admitted: true });
});

it('a worker that starts admits no clients of an exit that was removed from the access list', async () => {
  const { open } = await setUp([]);
  expect(open()).toEqual({ admitted: false, reason: 'unknown' });
});

it('a worker whose access list gets an exit late admits the clients that it has announced elsewhere', async () => {
  const { admit, open } = await setUp([]);
  admit(['home']);
  expect(open()).toMatchObject({ admitted: true });
});
