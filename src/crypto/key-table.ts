/**
 * The gate keys that a relay knows, each by the secret that it shares with the relay's own, and what each was let in
 * for. Pure.
 *
 * Two public keys that differ by a point of small order share one secret, and so have one place here: whoever announces
 * such a key adds to what its owner may do, and takes nothing away.
 */
import { encodeBase64url } from './base64url.ts';
import type { Identity } from './keys.ts';
import { isPublicKey } from './public-key.ts';
import { epochOf, numericHint, type TicketRole } from './ticket-format.ts';

export interface Peer {
  /** For logs, and to find the peer's links by. */
  readonly name: string;
  readonly gateKey: Uint8Array;
  /** What the tickets of this key may say. */
  readonly role: TicketRole;
  /** Of a client: the one destination that its tickets may have. An exit's may be empty, or a token. */
  readonly destination: string;
}

type Place = Pick<Peer, 'role' | 'destination'>;

/** The destination of an exit's ticket: its control link, or the call that its link answers (docs/protocol.md §11). */
const EXIT_DESTINATION = /^([0-9a-f]{32})?$/;

/** Who let a key in, as which of its public keys. */
interface Grant {
  readonly peer: Peer;
  readonly publicKey: string;
}

export class KnownKey {
  readonly sharedKey: Uint8Array;
  /** A few at most, the latest last. */
  private grants: readonly Grant[] = [];

  constructor(sharedKey: Uint8Array) {
    this.sharedKey = sharedKey;
  }

  /** For logs, of whatever grant. */
  get anyName(): string {
    return this.grants[0]?.peer.name ?? '';
  }

  /** The public keys by which it was let in, as text. */
  get publicKeys(): Set<string> {
    return new Set(this.grants.map(({ publicKey }) => publicKey));
  }

  /** The name under which a ticket that says this may open. */
  nameFor(place: Place): string | undefined {
    if (place.role === 'exit' && !EXIT_DESTINATION.test(place.destination)) return undefined;
    return this.grants.findLast(({ peer }) => isSamePlace(peer, place))?.peer.name;
  }

  grant(peer: Peer, publicKey: string): void {
    this.withdraw(peer, publicKey);
    this.grants = [...this.grants, { peer, publicKey }];
  }

  withdraw(place: Place, publicKey: string): void {
    this.grants = this.grants.filter((grant) => grant.publicKey !== publicKey || !isSamePlace(grant.peer, place));
  }
}

/** What a ticket must say to be let in by what `Peer` says: of an exit the destination is no matter. */
function isSamePlace(one: Place, other: Place): boolean {
  return one.role === other.role && (one.role === 'exit' || one.destination === other.destination);
}

export class KeyTable {
  private readonly relay: Identity;
  /** By the text of the public key; several may share a secret. */
  private readonly byPublicKey = new Map<string, KnownKey>();
  /** By the shared secret. */
  private readonly bySecret = new Map<string, KnownKey>();
  /** Epoch to hint to key, for the three epochs within the skew of `#epoch`. */
  private readonly hints = new Map<number, Map<bigint, KnownKey>>();
  private epoch: number | undefined;

  constructor(relay: Identity) {
    this.relay = relay;
  }

  get keys(): Iterable<KnownKey> {
    return this.bySecret.values();
  }

  /** A new key costs 0.07 ms, a known one nothing. What is no public key (`isPublicKey`) is not let in. */
  add(peer: Peer): void {
    const text = encodeBase64url(peer.gateKey);
    const known = this.byPublicKey.get(text) ?? this.meet(peer.gateKey, text);
    known?.grant(peer, text);
  }

  /** Returns the key if it may do nothing any more. */
  remove(peer: Peer): KnownKey | undefined {
    const text = encodeBase64url(peer.gateKey);
    const known = this.byPublicKey.get(text);
    if (known === undefined) return undefined;
    known.withdraw(peer, text);
    const { publicKeys } = known;
    if (!publicKeys.has(text)) this.byPublicKey.delete(text);
    if (publicKeys.size > 0) return undefined;
    this.forget(known);
    return known;
  }

  /** The key of that hint, in the epochs before, of and after that time. */
  find(hint: bigint, seconds: number): KnownKey | undefined {
    const current = epochOf(seconds);
    if (current !== this.epoch) this.turnEpoch(current);
    for (const hints of this.hints.values()) {
      const known = hints.get(hint);
      if (known !== undefined) return known;
    }
    return undefined;
  }

  private meet(gateKey: Uint8Array, text: string): KnownKey | undefined {
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

  /** Once in two minutes one HMAC for each peer, 2.5 µs each: 25 ms at 10,000. */
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

/** A peer of a list, told apart from all others in it. */
export function placeOf({ gateKey, role, destination }: Peer): string {
  return [encodeBase64url(gateKey), role, role === 'exit' ? '' : destination].join(' ');
}

/** One byte a character. */
function secretText(sharedKey: Uint8Array): string {
  return Buffer.from(sharedKey.buffer, sharedKey.byteOffset, sharedKey.length).toString('latin1');
}
