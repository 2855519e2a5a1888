import { expect, it } from 'vitest';
import { AccessControl } from '../../src/app/access-control.ts';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketSealer } from '../../src/crypto/ticket.ts';
import { newRouter } from '../support/app/router.ts';

const FIELDS = { role: 'client', destination: '', protocol: 1, features: 0 } as const;

it('a relay accepts tickets for retired keys until they expire, and then rejects them as unknown', async () => {
  const [old, present, alice] = [createIdentity(), createIdentity(), createIdentity()];
  const until = Date.now() + 60_000;
  const entry = { name: 'alice', role: 'client', key: alice.public, allow: [] } as const;
  const access = new AccessControl();
  access.replace([{ ...entry, rules: [], listenRules: [] }]);
  const core = await newRouter({
    keys: { identity: present, retired: [{ identity: old, until, peers: [entry], exits: new Map() }] },
    access,
  });
  core.admit(new Set());
  const sealer = new TicketSealer(alice, old.public.gate);
  const open = (now: number) => core.open(sealer.seal(FIELDS, now), now, {});
  expect(open(until - 1)).toMatchObject({ admitted: true, peer: 'alice', rotationProof: expect.any(Buffer) });
  expect(open(until)).toEqual({ admitted: false, reason: 'unknown' });
});
