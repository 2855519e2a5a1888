import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { AccessControl } from '../../src/app/access-control.ts';
import { RelayRouter } from '../../src/app/relay-routing.ts';
import { createIdentity } from '../../src/crypto/keys.ts';
import { ReplayGuard } from '../../src/crypto/replay-guard.ts';
import { TicketSealer } from '../../src/crypto/ticket.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { RendezvousCounts } from '../../src/relay/rendezvous-counts.ts';
import { loadKnownExits } from '../../src/state/known-exits.ts';
import { openStateDir } from '../../src/state/state-dir.ts';
import { tempDir } from '../support/temp-dir.ts';

const FIELDS = { role: 'client', destination: '', protocol: 1, features: 0 } as const;

it('a relay accepts tickets for retired keys until they expire, and then rejects them as unknown', async () => {
  const [old, present, alice] = [createIdentity(), createIdentity(), createIdentity()];
  const state = await openStateDir(join(await tempDir(), 'state'));
  const until = Date.now() + 60_000;
  const entry = { name: 'alice', role: 'client', key: alice.public, allow: [] } as const;
  const access = new AccessControl();
  access.replace([{ ...entry, rules: [], listenRules: [] }]);
  const core = new RelayRouter({
    keys: { identity: present, retired: [{ identity: old, until, peers: [entry], exits: new Map() }] },
    access,
    known: await loadKnownExits(state, silentLogger),
    instance: '0f'.repeat(16),
    replays: new ReplayGuard(),
    audiences: { has: () => true },
    sessions: undefined,
    isOverloaded: () => false,
    linksFree: () => 1,
    linksKept: () => 0,
    logger: silentLogger,
    counts: new RendezvousCounts(),
  });
  onTestFinished(() => core.close(0));
  core.admit(new Set());
  const sealer = new TicketSealer(alice, old.public.gate);
  const open = (now: number) => core.open(sealer.seal(FIELDS, now), now, {});
  expect(open(until - 1)).toMatchObject({ admitted: true, peer: 'alice', rotationProof: expect.any(Buffer) });
  expect(open(until)).toEqual({ admitted: false, reason: 'unknown' });
});
