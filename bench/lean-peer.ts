/** A client's keys, for all its sessions: what a ticket and a handshake need, computed once. */
import { createPublicKey, diffieHellman, type KeyObject } from 'node:crypto';
import { decodeInvite } from '../src/crypto/invite.ts';
import { HandshakeState } from '../src/crypto/noise.ts';
import { preferredSuite } from '../src/crypto/suite-choice.ts';
import { type DhFunctions, type DhKeyPair, importKeyPair, x25519 } from '../src/crypto/x25519.ts';
import { silentLogger } from '../src/observability/logger.ts';
import { PROTOCOL_VERSION } from '../src/protocol/frames.ts';
import { TicketDialer, type TicketUrl } from '../src/tunnel/dial/ticket-dialer.ts';

const suite = preferredSuite(() => performance.now());
/** docs/protocol.md §2.4: sealed records. */
const HEADER = Buffer.from([0x01, PROTOCOL_VERSION, suite === 'ChaChaPoly' ? 1 : 2, 0, 0, 1]);
const PROLOGUE = Buffer.concat([Buffer.from('wstun/1\0'), HEADER]);

export class LeanPeer {
  readonly relay: string;
  private readonly exitName: string;
  private readonly exitKey: Uint8Array;
  private readonly tickets: TicketDialer;
  private readonly keys: DhKeyPair;

  constructor(text: string) {
    const invite = decodeInvite(text);
    this.tickets = new TicketDialer(invite, silentLogger);
    this.relay = invite.relayUrls[0] ?? '';
    this.exitName = invite.exitName ?? '';
    this.exitKey = known(invite.exitSessionKey);
    this.keys = importKeyPair(invite.peer.exposeSessionKey());
  }

  ticketUrl(): TicketUrl {
    return this.tickets.ticketUrl(this.relay, { role: 'client', destination: this.exitName });
  }

  /** Of one link. */
  handshake(): { readonly header: Uint8Array; readonly noise: HandshakeState } {
    const { keys, exitKey } = this;
    const options = { role: 'initiator', suite, prologue: PROLOGUE, s: keys, rs: exitKey } as const;
    return { header: HEADER, noise: new HandshakeState(options, { dh: thrifty }) };
  }
}

/**
 * One ephemeral key for all handshakes: to the exits they are as expensive as any, and here they cost half. Nobody reads
 * what these sessions carry.
 */
const ephemeral = x25519.generateKeyPair();
/** Each key of an exit once, by its text. */
const exitKeys = new Map<string, Uint8Array>();
/** What the ephemeral key and that of an exit agree on. */
const pinned = new WeakMap<Uint8Array, Uint8Array>();
/** Two agreements of a handshake need it. */
let latest: { readonly bytes: Uint8Array; readonly key: KeyObject } | undefined;

const thrifty: DhFunctions = {
  generateKeyPair: () => ephemeral,
  dh: ({ privateKey }, publicKey) =>
    pinned.get(publicKey) ?? diffieHellman({ privateKey, publicKey: imported(publicKey) }),
};

function known(exitKey: Uint8Array): Uint8Array {
  const text = Buffer.from(exitKey).toString('base64url');
  const before = exitKeys.get(text);
  if (before !== undefined) return before;
  exitKeys.set(text, exitKey);
  pinned.set(exitKey, x25519.dh(ephemeral, exitKey));
  return exitKey;
}

function imported(bytes: Uint8Array): KeyObject {
  if (latest?.bytes === bytes) return latest.key;
  const x = Buffer.from(bytes).toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
  latest = { bytes, key };
  return key;
}
