/** Invites of nobody: as `wstun access add` prints them, with keys that no relay has. */
import { encodeInvite } from '../../../src/crypto/invite.ts';
import { createIdentity } from '../../../src/crypto/keys.ts';

export function newInvite(): string {
  return encodeInvite({
    relayUrls: ['wss://relay.example.org'],
    relayGateKey: createIdentity().public.gate,
    exitSessionKey: createIdentity().public.session,
    exitName: undefined,
    role: 'client',
    peer: createIdentity(),
  });
}
