/**
 * Tickets: the one-time passes in an upgrade's request target (docs/protocol.md, "Tickets"). Sealing for the peer,
 * opening for the relay; the only file of `crypto` that `relay` may import. Pure: milliseconds since 1970 are passed
 * in.
 *
 * What a stranger sends costs a base64 decode and three look-ups: the hint, an HMAC that only the two key holders can
 * compute, picks the peer before any box is opened, and changes every two minutes so that it names no one to others.
 */
import { ClockSearch, type Found } from './clock-search.ts';
import { KeyTable, type KnownKey, type Peer, placeOf } from './key-table.ts';
import type { Identity } from './keys.ts';
import { PeerLinkRates } from './peer-link-rates.ts';
import { ReplayGuard } from './replay-guard.ts';
import {
  decodeTicket,
  type OpenedTicket,
  openRefusal,
  openTicket,
  type Refusal,
  type RefusalReason,
  rotationProofOf,
  sealRefusal,
  sealTicket,
  type TicketFields,
} from './ticket-format.ts';

export type { Peer } from './key-table.ts';
export { type Refusal, type RefusalReason, TICKET_TEXT_LENGTH, type TicketFields } from './ticket-format.ts';

/** How far the clocks of peer and relay may be apart, seconds: a laptop without NTP drifts by less in weeks. */
const MAX_SKEW_SECONDS = 120;
/** Two tickets of one peer whose errors differ by less have one clock behind them. */
const SAME_OFFSET_SECONDS = 30;

/**
 * Of a peer. An invite can have 1,024 sessions, which may all return at once, and again: a network that drops every
 * link after a second is no reason to be slowed, nor are a hundred clients of one invite on a network that drops them
 * every other second.
 */
const LINK_RATE = { burst: 1_024, perSecond: 50 };
/** Of an exit: one control link, which is dialled again with pauses. What answers a call that waits is not counted. */
const CONTROL_RATE = { burst: 64, perSecond: 4 };
/**
 * Proofs for one peer: each costs less than it took to open the ticket. Beyond it the peer sees what strangers see.
 */
const PROOF_RATE = { burst: 1_024, perSecond: 100 };

/**
 * Set by the peer: a web page will use the ticket, so the request may have an `Origin`. Of all tickets only these
 * open to browsers.
 */
export const PAGE_FEATURE = 0x8000;

/** The peer's side. Computes the shared key once, so that a ticket costs no public-key work. */
export class TicketSealer {
  private readonly sharedKey: Uint8Array;

  constructor(peer: Identity, relayGateKey: Uint8Array) {
    this.sharedKey = peer.exposeGateSharedKey(relayGateKey);
  }

  /**
   * A new ticket, good for one link until two minutes after `now` by the relay's clock.
   * @param now milliseconds since 1970; a peer that knows better than its clock may correct it
   * @throws RangeError for fields out of range
   */
  seal(fields: TicketFields, now: number): string {
    return sealTicket(this.sharedKey, fields, now);
  }

  /** What only the relay can say to a ticket of ours: that its keys were rotated. 32 bytes. */
  rotationProof(ticket: string): Buffer {
    return rotationProofOf(this.sharedKey, nonceOf(ticket));
  }

  /** Why the relay made no link of a ticket of ours, if the `ETag` of its answer proves it. */
  refusalIn(etag: string, ticket: string): Refusal | undefined {
    return openRefusal(this.sharedKey, nonceOf(ticket), etag);
  }
}

/**
 * Why a ticket does not open. `malformed`: no ticket at all. `unknown`: no peer of ours, or a clock more than an
 * epoch off. `forged`: a hint of ours with a box that is not. `unsupported`: of another version, or with fields out of
 * range. `misplaced`: a role or a destination that the peer may not have. `from-page`: a web page that the peer did
 * not mean. `late`, `early`: a clock too far off. `replayed`: used before. The others are those that are proved to the
 * peer.
 */
export type TicketRefusal =
  | 'malformed'
  | 'unknown'
  | 'forged'
  | 'unsupported'
  | 'misplaced'
  | 'from-page'
  | 'late'
  | 'early'
  | 'replayed'
  | Exclude<RefusalReason, 'clock-off'>;

export type TicketDecision =
  | {
      readonly admitted: true;
      readonly peer: string;
      readonly fields: TicketFields;
      /**
       * Only where the keys that it was sealed to are retired: its link leads nowhere, but the peer may be told why.
       */
      readonly rotationProof?: Buffer;
    }
  | {
      readonly admitted: false;
      readonly reason: TicketRefusal;
      /** The peer's name where the box proved it; for logs, never for the answer to the asker. */
      readonly peer?: string;
      /** For `late` and `early`: the peer's clock less this one, seconds. */
      readonly offset?: number;
      /** The `ETag` that tells the peer, and nobody else, of the reason. */
      readonly etag?: string;
    };

/** What is known of the request that brought a ticket. */
export interface TicketRequest {
  /** It came from a web page, which only tickets with PAGE_FEATURE may. */
  readonly fromPage?: boolean;
  /** It cannot become a link, however good its ticket. */
  readonly obstacle?: Exclude<RefusalReason, 'clock-off' | 'too-often'> | undefined;
}

export interface TicketOpenerOptions {
  /** The relay has other keys by now: verdicts hold the proof of that. */
  readonly retired?: boolean;
  /** Several openers, and several processes after each other, may have one. */
  readonly replays?: ReplayGuard;
  /** A call of that exit waits for a link with this token, for which the relay itself has asked. */
  readonly isAwaited?: (exit: string, token: string) => boolean;
}

/** A peer whose clock is wrong was found in the background. */
export interface WrongClock {
  readonly peer: string;
  /** The peer's clock less this one, seconds. */
  readonly offset: number;
}

/** A ticket of ours whose box has been opened. */
interface Judged {
  readonly known: KnownKey;
  readonly peer: string;
  readonly nonce: Buffer;
  readonly opened: OpenedTicket;
  /** By how much the peer's clock is known to be off, where that alone made the hint known, seconds. */
  readonly expectedOffset: number | undefined;
}

/** The relay's side: who may come, as what and where to, and which tickets have been used. */
export class TicketOpener {
  private readonly keys: KeyTable;
  private readonly replays: ReplayGuard;
  private readonly clocks: ClockSearch | undefined;
  private readonly links = new PeerLinkRates(LINK_RATE);
  private readonly controls = new PeerLinkRates(CONTROL_RATE);
  private readonly proofs = new PeerLinkRates(PROOF_RATE);
  private readonly retired: boolean;
  private readonly isAwaited: (exit: string, token: string) => boolean;
  private list: readonly Peer[] = [];
  private sweptAt = 0;

  constructor(relay: Identity, options: TicketOpenerOptions = {}) {
    const { retired = false, replays = new ReplayGuard(), isAwaited = () => false } = options;
    this.keys = new KeyTable(relay);
    this.replays = replays;
    this.retired = retired;
    this.isAwaited = isAwaited;
    if (!retired) this.clocks = new ClockSearch(() => this.keys.keys);
  }

  /** Nonces remembered. */
  get rememberedNonces(): number {
    return this.replays.size;
  }

  /**
   * Replaces the relay's own list; whoever is missing is locked out at once. A new key costs 0.07 ms once, a known one
   * nothing. Of several peers with one key, role and destination the last gives its name.
   */
  setPeers(peers: Iterable<Peer>): void {
    const before = this.list;
    this.list = [...peers];
    for (const peer of this.list) this.add(peer);
    const kept = new Set(this.list.map(placeOf));
    for (const peer of before) if (!kept.has(placeOf(peer))) this.remove(peer);
  }

  /** Lets one more in, beside the list, unless its key is none (`isPublicKey`). A new key costs 0.07 ms. */
  add(peer: Peer): void {
    this.keys.add(peer);
  }

  /** Locks out what was added with this key, role and destination; what else the key may do stays. */
  remove(peer: Peer): void {
    const gone = this.keys.remove(peer);
    if (gone !== undefined) this.clocks?.forget(gone);
  }

  /**
   * Opens a ticket, and uses it up if it admits.
   * @param now milliseconds since 1970
   */
  open(text: string, now: number, { fromPage = false, obstacle }: TicketRequest = {}): TicketDecision {
    const ticket = decodeTicket(text);
    if (ticket === undefined) return { admitted: false, reason: 'malformed' };
    this.sweep(now);
    const found = this.peerOfHint(ticket.hint, now);
    if (found === undefined) return { admitted: false, reason: 'unknown' };
    const { known, offset } = found;
    const opened = openTicket(known.sharedKey, ticket);
    if (opened === 'forged') return { admitted: false, reason: 'forged' };
    if (opened === 'unsupported') return { admitted: false, reason: 'unsupported', peer: known.anyName };
    const peer = known.nameFor(opened.fields);
    if (peer === undefined) return { admitted: false, reason: 'misplaced', peer: known.anyName };
    if (fromPage && (opened.fields.features & PAGE_FEATURE) === 0)
      return { admitted: false, reason: 'from-page', peer };
    return this.judge({ known, peer, nonce: ticket.nonce, opened, expectedOffset: offset }, now, obstacle);
  }

  /** A ticket that nobody knows may be of a peer whose clock is wrong: `findClocks` will look for it. */
  wantClock(text: string, now: number): void {
    const ticket = decodeTicket(text);
    if (ticket !== undefined) this.clocks?.want(ticket, now);
  }

  /** Whether there is anything for `findClocks` to do. */
  get hasClocksToFind(): boolean {
    return this.clocks?.isBusy ?? false;
  }

  /**
   * Looks for the peers of tickets that nobody's hint fitted, for so many hints, 2.5 µs each. Nobody waits for it.
   * @param now milliseconds since 1970
   */
  findClocks(hints: number, now: number): WrongClock[] {
    return (this.clocks?.search(hints) ?? []).flatMap((found) => this.learnOffset(found, now) ?? []);
  }

  private peerOfHint(hint: bigint, now: number): { known: KnownKey; offset?: number } | undefined {
    const known = this.keys.find(hint, Math.floor(now / 1000));
    return known === undefined ? this.clocks?.find(hint, now) : { known };
  }

  private judge(ticket: Judged, now: number, obstacle: TicketRequest['obstacle']): TicketDecision {
    const { known, peer, nonce, opened } = ticket;
    const offset = opened.seconds - Math.floor(now / 1000);
    if (Math.abs(offset) > MAX_SKEW_SECONDS) return this.refuseClock(ticket, offset, now);
    if (this.replays.wasUsed(nonce, 'opened')) return { admitted: false, reason: 'replayed', peer };
    const reason = obstacle ?? (this.useUp(ticket, now) ? undefined : 'too-often');
    if (reason !== undefined) return { admitted: false, reason, peer, ...this.proof(ticket, reason, now) };
    const proof = this.retired && { rotationProof: rotationProofOf(known.sharedKey, nonce) };
    return { admitted: true, peer, fields: opened.fields, ...proof };
  }

  private refuseClock(ticket: Judged, offset: number, now: number): TicketDecision {
    const { peer, expectedOffset, nonce } = ticket;
    const common = { admitted: false, reason: offset < 0 ? 'late' : 'early', peer, offset } as const;
    // An old ticket that somebody has kept must not show that a relay is here.
    const isFresh = expectedOffset === undefined || Math.abs(offset - expectedOffset) <= SAME_OFFSET_SECONDS;
    if (!isFresh || this.mayBeOld(nonce, ticket.opened)) return common;
    if (expectedOffset !== undefined) this.clocks?.note(ticket.known, offset, now);
    return { ...common, ...this.proof(ticket, 'clock-off', now) };
  }

  /** It may have been used when it was fresh, if it ever was. */
  private mayBeOld(nonce: Buffer, { seconds }: OpenedTicket): boolean {
    const isForgotten = (seconds - MAX_SKEW_SECONDS) * 1000 < this.replays.pastSince;
    return isForgotten || this.replays.wasUsedBefore(nonce, 'opened');
  }

  /** Once for a ticket, so that whoever has seen it pass learns nothing by it. */
  private proof({ known, peer, nonce }: Judged, reason: RefusalReason, now: number): { etag?: string } {
    if (this.replays.wasUsedBefore(nonce, 'answered') || !this.proofs.take(peer, now)) return {};
    if (!this.replays.remember(nonce, 'answered', peer, now)) return {};
    return { etag: sealRefusal(known.sharedKey, nonce, reason, now) };
  }

  /** False where the peer has to wait. */
  private useUp({ peer, nonce, opened }: Judged, now: number): boolean {
    const { role, destination } = opened.fields;
    if (role === 'exit' && destination !== '' && this.isAwaited(peer, destination)) {
      // The relay has asked for it, and its token is good once. It is remembered all the same, so that it never opens
      // to another.
      this.replays.remember(nonce, 'opened', undefined, now);
      return true;
    }
    const rates = role === 'exit' && destination === '' ? this.controls : this.links;
    return rates.take(peer, now) && this.replays.remember(nonce, 'opened', peer, now);
  }

  /** One ticket proves nothing: it may be an old one. The next by the same clock is believed. */
  private learnOffset({ known, ticket, seconds }: Found, now: number): WrongClock | undefined {
    const opened = openTicket(known.sharedKey, ticket);
    if (typeof opened === 'string' || this.mayBeOld(ticket.nonce, opened)) return undefined;
    if (this.replays.wasUsedBefore(ticket.nonce, 'answered')) return undefined;
    const peer = known.nameFor(opened.fields) ?? known.anyName;
    if (!this.replays.remember(ticket.nonce, 'answered', peer, now)) return undefined;
    const offset = opened.seconds - seconds;
    this.clocks?.note(known, offset, now);
    return { peer, offset };
  }

  private sweep(now: number): void {
    if (Math.abs(now - this.sweptAt) < MAX_SKEW_SECONDS * 1000) return;
    this.sweptAt = now;
    for (const rates of [this.links, this.controls, this.proofs]) rates.sweep(now);
  }
}

/**
 * The relay's keys, the present ones first, then those that it has retired: a ticket opens with one of them or with
 * none.
 */
export function openWithAny(
  openers: readonly TicketOpener[],
  text: string,
  now: number,
  request: TicketRequest = {},
): TicketDecision {
  let verdict: TicketDecision = { admitted: false, reason: 'unknown' };
  for (const opener of openers) {
    verdict = opener.open(text, now, request);
    if (verdict.admitted || verdict.reason !== 'unknown') return verdict;
  }
  // Not for those with an old invite: they have more to mend than a clock.
  openers[0]?.wantClock(text, now);
  return verdict;
}

function nonceOf(ticket: string): Buffer {
  const decoded = decodeTicket(ticket);
  if (decoded === undefined) throw new RangeError('not a ticket');
  return decoded.nonce;
}
