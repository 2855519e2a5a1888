/**
 * The gate keys that a relay knows, each by the secret that it shares with the relay's own key, and what each may do.
 * Pure. Two public keys that differ by a point of small order share one secret, and so have one entry here: announcing
 * such a key adds to what its owner may do, and takes nothing away.
 */
import { encodeBase64url } from './base64url.ts';
import type { Identity } from './keys.ts';
import { isPublicKey } from './public-key.ts';
import { epochOf, numericHint, type TicketRole } from './ticket-format.ts';

export interface Peer {
  /** For logs, and to find the peer's links. */
  readonly name: string;
  readonly gateKey: Uint8Array;
  /** What the tickets of this key may say. */
  readonly role: TicketRole;
  /** Of a client: the only destination that its tickets may have. An exit's may be empty, or a token. */
  readonly destination: string;
}

type TicketScope = Pick<Peer, 'role' | 'destination'>;

/** The destination of an exit's ticket: empty for its control link, else the token of a request (protocol.md §11). */
const EXIT_DESTINATION = /^([0-9a-f]{32})?$/;

/** The peer for which a key is known, and which of its public keys was added. */
interface Grant {
  readonly peer: Peer;
  readonly publicKey: string;
}

export class KnownKey {
  /** A few at most, the newest last. */
  private grants: readonly Grant[] = [];

  constructor(readonly sharedKey: Uint8Array) {}

  /** For logs, of any grant. */
  get anyName(): string {
    return this.grants[0]?.peer.name ?? '';
  }

  /** The public keys that were added, as text. */
  get publicKeys(): Set<string> {
    return new Set(this.grants.map(({ publicKey }) => publicKey));
  }

  /** The name of the peer whose ticket may have this scope. */
  nameFor(scope: TicketScope): string | undefined {
    if (scope.role === 'exit' && !EXIT_DESTINATION.test(scope.destination)) return undefined;
    return this.grants.findLast(({ peer }) => isSameScope(peer, scope))?.peer.name;
  }

  grant(peer: Peer, publicKey: string): void {
    this.revoke(peer, publicKey);
    this.grants = [...this.grants, { peer, publicKey }];
  }

  revoke(scope: TicketScope, publicKey: string): void {
    this.grants = this.grants.filter((grant) => grant.publicKey !== publicKey || !isSameScope(grant.peer, scope));
  }
}

/** Whether a ticket with one scope may open for a peer with the other. An exit may have any destination. */
function isSameScope(one: TicketScope, other: TicketScope): boolean {
  return one.role === other.role && (one.role === 'exit' || one.destination === other.destination);
}

export class KeyTable {
  /** By the text of the public key; several may share a secret. */
  private readonly byPublicKey = new Map<string, KnownKey>();
  /** By the shared secret. */
  private readonly bySecret = new Map<string, KnownKey>();
  /** Epoch to hint to key, for the three epochs within the skew of `epoch`. */
  private readonly hints = new Map<number, Map<bigint, KnownKey>>();
  private epoch: number | undefined;

  constructor(private readonly relay: Identity) {}

  get keys(): Iterable<KnownKey> {
    return this.bySecret.values();
  }

  /** A new key costs 0.07 ms, a known one nothing. What is not a public key (`isPublicKey`) is ignored. */
  add(peer: Peer): void {
    const text = encodeBase64url(peer.gateKey);
    const known = this.byPublicKey.get(text) ?? this.learn(peer.gateKey, text);
    known?.grant(peer, text);
  }

  /** Returns the key if it has no grant any more. */
  remove(peer: Peer): KnownKey | undefined {
    const text = encodeBase64url(peer.gateKey);
    const known = this.byPublicKey.get(text);
    if (known === undefined) return undefined;
    known.revoke(peer, text);
    const { publicKeys } = known;
    if (!publicKeys.has(text)) this.byPublicKey.delete(text);
    if (publicKeys.size > 0) return undefined;
    this.forget(known);
    return known;
  }

  /** The key of that hint, in the epoch of that time, the one before and the one after. */
  find(hint: bigint, seconds: number): KnownKey | undefined {
    const current = epochOf(seconds);
    if (current !== this.epoch) this.turnEpoch(current);
    for (const hints of this.hints.values()) {
      const known = hints.get(hint);
      if (known !== undefined) return known;
    }
    return undefined;
  }

  private learn(gateKey: Uint8Array, text: string): KnownKey | undefined {
    if (!isPublicKey(gateKey)) return undefined;
    const sharedKey = this.relay.exposeGateSharedKey(gateKey);
    const secret = secretText(sharedKey);
    const known = this.bySecret.get(secret) ?? new KnownKey(sharedKey);
    this.byPublicKey.set(text, known);
    this.bySecret.set(secret, known);
    for (const [epoch, hints] of this.hints) hints.set(numericHint(sharedKey, epoch), known);
    return known;
  }

  private forget(known: KnownKey): void {
    this.bySecret.delete(secretText(known.sharedKey));
    for (const [epoch, hints] of this.hints) hints.delete(numericHint(known.sharedKey, epoch));
  }

  /** Every two minutes one HMAC for each peer, 2.5 µs each: 25 ms for 10,000. */
  private turnEpoch(current: number): void {
    for (const epoch of this.hints.keys()) {
      if (Math.abs(epoch - current) > 1) this.hints.delete(epoch);
    }
    for (const epoch of [current, current - 1, current + 1]) {
      if (!this.hints.has(epoch)) this.hints.set(epoch, this.hintsOfEpoch(epoch));
    }
    this.epoch = current;
  }

  private hintsOfEpoch(epoch: number): Map<bigint, KnownKey> {
    const hints = new Map<bigint, KnownKey>();
    for (const known of this.bySecret.values()) hints.set(numericHint(known.sharedKey, epoch), known);
    return hints;
  }
}

/** Tells the peers of a list apart. */
export function peerId({ gateKey, role, destination }: Peer): string {
  return [encodeBase64url(gateKey), role, role === 'exit' ? '' : destination].join(' ');
}

/** One byte per character. */
function secretText(sharedKey: Uint8Array): string {
  return Buffer.from(sharedKey.buffer, sharedKey.byteOffset, sharedKey.length).toString('latin1');
}
