/** Peers, relays and tickets for tests of tickets, at one moment of virtual time. */
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { createIdentity, type Identity } from '../../../src/crypto/keys.ts';
import {
  type Peer,
  type TicketDecision,
  type TicketFields,
  TicketOpener,
  TicketSealer,
} from '../../../src/crypto/ticket.ts';

export const NOW = 1_800_000_060_000; // in the middle of an epoch
export const SECOND = 1000;
export const FIELDS: TicketFields = { role: 'client', destination: '', protocol: 1, features: 0 };

export const NAME = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/);
export const TOKEN = fc.stringMatching(/^[0-9a-f]{32}$/);

export const relay = createIdentity();
export const alice = createIdentity();
export const bob = createIdentity();

export function peer(name: string, gateKey: Uint8Array, place: Partial<Peer> = {}): Peer {
  return { name, gateKey, role: 'client', destination: '', ...place };
}

export function openerFor(...names: ('alice' | 'bob')[]): TicketOpener {
  const opener = new TicketOpener(relay);
  const keys = { alice: alice.public.gate, bob: bob.public.gate };
  opener.setPeers(names.map((name) => peer(name, keys[name])));
  return opener;
}

export function seal(peer: Identity, now = NOW, fields = FIELDS): string {
  return new TicketSealer(peer, relay.public.gate).seal(fields, now);
}

export function reasonOf(opener: TicketOpener, text: string, now = NOW): string {
  const decision = opener.open(text, now);
  return decision.admitted ? 'admitted' : decision.reason;
}

/** A ticket of an arbitrary payload, sealed and hinted as a real one. */
export function sealPayload(peer: Identity, payload: Uint8Array): string {
  const real = Buffer.from(seal(peer), 'base64url');
  const nonce = nacl.randomBytes(24);
  const box = nacl.box.after(payload, nonce, peer.exposeGateSharedKey(relay.public.gate));
  return Buffer.concat([real.subarray(0, 8), nonce, box]).toString('base64url');
}

export function payloadOf(text: string, peer: Identity): Buffer {
  const bytes = Buffer.from(text, 'base64url');
  const key = peer.exposeGateSharedKey(relay.public.gate);
  return Buffer.from(nacl.box.open.after(bytes.subarray(32), bytes.subarray(8, 32), key)!);
}

export function etagOf(decision: TicketDecision): string | undefined {
  return decision.admitted ? undefined : decision.etag;
}
