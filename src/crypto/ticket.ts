/**
 * Tickets: one-time credentials in an upgrade's request target (docs/protocol.md, "Tickets"). Peers seal them, the
 * relay opens them; the only file of `crypto` that `relay` may import. Pure: milliseconds since 1970 are passed in. A
 * stranger's ticket costs a base64 decode and three look-ups. The hint, an HMAC that only the two key holders can
 * compute, selects the peer before any box is opened. It changes every two minutes, so that it identifies no one to
 * others.
 */

import { HTTP_FEATURE, HttpLinkKey } from './http-link.ts';
import { KeyTable, type KnownKey, type Peer, peerId } from './key-table.ts';
import type { Identity } from './keys.ts';
import { ClockSearch, type Found } from './peer-clock-search.ts';
import { PeerLinkRates } from './peer-link-rates.ts';
import { ReplayGuard } from './replay-guard.ts';
import {
  decodeTicket,
  hintIn,
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

export { audienceOf } from './audience.ts';
export { decodeSegment, HTTP_FEATURE, HttpLinkKey } from './http-link.ts';
export type { Peer } from './key-table.ts';
export { type Refusal, type RefusalReason, TICKET_TEXT_LENGTH, type TicketFields } from './ticket-format.ts';

/** How far the clocks of peer and relay may be apart, seconds: a laptop without NTP drifts by less in weeks. */
const MAX_SKEW_SECONDS = 120;
/** Two tickets of one peer whose errors differ by less come from one clock. */
const SAME_OFFSET_SECONDS = 30;

/**
 * Of a peer. An invite can have 1,024 sessions, which may all return at once, and again. A client on a network that
 * drops every link after a second must not be slowed, nor a hundred of one invite whose links last two seconds.
 */
const LINK_RATE = { burst: 1_024, perSecond: 50 };
/** Of an exit: one control link, which is dialled again with pauses. Answers to pending requests are not counted. */
const CONTROL_RATE = { burst: 64, perSecond: 4 };
/** Proofs for one peer: each costs less than opening the ticket. Beyond, the peer gets what strangers get. */
const PROOF_RATE = { burst: 1_024, perSecond: 100 };

/** Set by the peer: a web page will use the ticket. Only a request with such a ticket may have an `Origin`. */
export const PAGE_FEATURE = 0x8000;
/** The link is one more of a session that has one already: a relay that is short of links prefers new sessions. */
export const FURTHER_FEATURE = 0x0200;

/** The peer's side. Computes the shared key once, so that a ticket costs no public-key work. */
export class TicketSealer {
  private readonly sharedKey: Uint8Array;

  constructor(peer: Identity, relayGateKey: Uint8Array) {
    this.sharedKey = peer.exposeGateSharedKey(relayGateKey);
  }

  /**
   * Valid until two minutes after `now`, ms since 1970, by the relay's clock.
   * @param audience of `audienceOf`; undefined: the ticket is for every relay with this key
   * @throws RangeError for bad fields
   */
  seal(fields: TicketFields, now: number, audience?: bigint): string {
    return sealTicket(this.sharedKey, fields, now, audience);
  }

  /** The relay's proof to this ticket that its keys were rotated, 32 bytes. */
  rotationProof(ticket: string): Buffer {
    return rotationProofOf(this.sharedKey, nonceOf(ticket));
  }

  /** For the further requests of the HTTP link that this ticket opens. */
  httpLinkKey(ticket: string): HttpLinkKey {
    return HttpLinkKey.of(this.sharedKey, nonceOf(ticket));
  }

  /** Why the relay made no link of this ticket, if the `ETag` of its answer proves it. */
  refusalIn(etag: string, ticket: string): Refusal | undefined {
    return openRefusal(this.sharedKey, nonceOf(ticket), etag);
  }
}

/**
 * Why a ticket does not open. `unknown`: not of a known peer, or its clock is wrong by more than an epoch. `forged`: a
 * known peer's hint with another box. `unsupported`: of another version, or with fields out of range. `misplaced`: a
 * role or a destination that the peer may not have. `misdirected`: for another relay with the same keys; it may have
 * been used there. `from-page`: a web page sent a ticket that is not for one. `late`, `early`: the clock is too far
 * off. `replayed`: used before. The others are proved to the peer.
 */
export type TicketRefusal =
  | 'malformed'
  | 'unknown'
  | 'forged'
  | 'unsupported'
  | 'misplaced'
  | 'misdirected'
  | 'from-page'
  | 'late'
  | 'early'
  | 'replayed'
  | Exclude<RefusalReason, 'clock-off'>;

export interface RejectedTicket {
  readonly admitted: false;
  readonly reason: TicketRefusal;
  /** The peer's name if the box proved it; only for logs, never for the answer. */
  readonly peer?: string;
  /** For `late` and `early`: the peer's clock less this one, seconds. */
  readonly offset?: number;
  /** For `misdirected`: the URL of the relay that it is for, if that is known; only for logs. */
  readonly meant?: string;
  /** The `ETag` that tells the reason to this peer only. */
  readonly etag?: string;
}

interface AdmittedTicket {
  readonly admitted: true;
  readonly peer: string;
  readonly fields: TicketFields;
  /** Of `audienceOf`: for which relay the ticket is; undefined: the peer does not say. */
  readonly audience?: bigint;
  /** Set if the ticket was sealed to retired keys: its link serves only to tell the peer so. */
  readonly rotationProof?: Buffer;
  /** Set if it is for an HTTP link: of the further requests. */
  readonly httpLink?: HttpLinkKey;
}

export type TicketDecision = AdmittedTicket | RejectedTicket;

/** What is known of the request that brought a ticket. */
export interface TicketRequest {
  /** It came from a web page, which only tickets with PAGE_FEATURE may. */
  readonly fromPage?: boolean;
  /** Why it cannot become a link even with a valid ticket. */
  readonly obstacle?: Obstacle | undefined;
  /** The same for a ticket with HTTP_FEATURE. */
  readonly httpObstacle?: Obstacle | undefined;
}

type Obstacle = Exclude<RefusalReason, 'clock-off' | 'too-often'>;

/** For which relays tickets are that open here. */
export interface Audiences {
  has(audience: bigint): boolean;
  /** The URL of another relay with these keys, if it is known. */
  urlOf?(audience: bigint): string | undefined;
}

const EVERYBODY: Audiences = { has: () => true };

export interface TicketOpenerOptions {
  /** The relay has other keys now: decisions hold the proof of that. */
  readonly retired?: boolean;
  /** Several openers may share one, and one process may restore that of another. */
  readonly replays?: ReplayGuard;
  /** Default: tickets for all relays with these keys open here. */
  readonly audiences?: Audiences;
  /** That exit has a pending request of the relay with this token. */
  readonly isRequested?: (exit: string, token: string) => boolean;
}

/** A peer whose clock is wrong was found in the background. */
export interface WrongClock {
  readonly peer: string;
  /** The peer's clock less this one, seconds. */
  readonly offset: number;
}

/** A known peer's ticket whose box has been opened. */
interface PeerTicket {
  readonly known: KnownKey;
  readonly peer: string;
  readonly nonce: Buffer;
  readonly opened: OpenedTicket;
  /** By how much the peer's clock is known to be off, seconds, if the hint was found only by that. */
  readonly expectedOffset: number | undefined;
}

/** The relay's side: which peers are known, what their tickets may say, and which have been used. */
export class TicketOpener {
  private readonly keys: KeyTable;
  private readonly replays: ReplayGuard;
  private readonly clocks: ClockSearch | undefined;
  private readonly links = new PeerLinkRates(LINK_RATE);
  private readonly controls = new PeerLinkRates(CONTROL_RATE);
  private readonly proofs = new PeerLinkRates(PROOF_RATE);
  private readonly retired: boolean;
  private readonly audiences: Audiences;
  private readonly isRequested: (exit: string, token: string) => boolean;
  private list: readonly Peer[] = [];
  private sweptAt = 0;

  constructor(relay: Identity, options: TicketOpenerOptions = {}) {
    const { retired = false, replays = new ReplayGuard(), audiences = EVERYBODY, isRequested = () => false } = options;
    this.keys = new KeyTable(relay);
    this.replays = replays;
    this.audiences = audiences;
    this.retired = retired;
    this.isRequested = isRequested;
    if (!retired) this.clocks = new ClockSearch(() => this.keys.keys);
  }

  /** Nonces remembered. */
  get rememberedNonces(): number {
    return this.replays.size;
  }

  /** Missing peers are locked out at once. Of several with one key, role and destination the last gives its name. */
  setPeers(peers: Iterable<Peer>): void {
    const before = this.list;
    this.list = [...peers];
    for (const peer of this.list) this.add(peer);
    const kept = new Set(this.list.map(peerId));
    for (const peer of before) if (!kept.has(peerId(peer))) this.remove(peer);
  }

  /** Adds a peer beside the list, if its key is valid (`isPublicKey`). A new key costs 0.07 ms. */
  add(peer: Peer): void {
    this.keys.add(peer);
  }

  /** Removes what was added with this key, role and destination; what else the key may do stays. */
  remove(peer: Peer): void {
    const gone = this.keys.remove(peer);
    if (gone !== undefined) this.clocks?.forget(gone);
  }

  /** Opens a ticket, and uses it up if it is admitted. @param now milliseconds since 1970 */
  open(text: string, now: number, request: TicketRequest = {}): TicketDecision {
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
    if (!this.isForUs(opened)) return { admitted: false, reason: 'misdirected', peer, ...this.meantBy(opened) };
    if (request.fromPage && (opened.fields.features & PAGE_FEATURE) === 0)
      return { admitted: false, reason: 'from-page', peer };
    return this.decide({ known, peer, nonce: ticket.nonce, opened, expectedOffset: offset }, now, request);
  }

  /** Whether the hint is one of a peer: otherwise `open` does not admit the ticket. Costs three look-ups. */
  knowsHint(text: string, now: number): boolean {
    const hint = hintIn(text);
    return hint !== undefined && this.peerOfHint(hint, now) !== undefined;
  }

  /** A ticket with an unknown hint may be of a peer whose clock is wrong: `findClocks` searches for it. */
  searchClock(text: string, now: number): void {
    const ticket = decodeTicket(text);
    if (ticket !== undefined) this.clocks?.add(ticket, now);
  }

  /** Whether there is anything for `findClocks` to do. */
  get hasClocksToFind(): boolean {
    return this.clocks?.isBusy ?? false;
  }

  /** Tries so many hints, 2.5 µs each, in the background. @param now milliseconds since 1970 */
  findClocks(hints: number, now: number): WrongClock[] {
    return (this.clocks?.search(hints) ?? []).flatMap((found) => this.learnOffset(found, now) ?? []);
  }

  private peerOfHint(hint: bigint, now: number): { known: KnownKey; offset?: number } | undefined {
    const known = this.keys.find(hint, Math.floor(now / 1000));
    return known === undefined ? this.clocks?.find(hint, now) : { known };
  }

  private isForUs({ audience }: OpenedTicket): boolean {
    return audience === undefined || this.audiences.has(audience);
  }

  private meantBy({ audience }: OpenedTicket): { readonly meant?: string } {
    const meant = audience === undefined ? undefined : this.audiences.urlOf?.(audience);
    return meant === undefined ? {} : { meant };
  }

  private decide(ticket: PeerTicket, now: number, request: TicketRequest): TicketDecision {
    const { known, peer, nonce, opened } = ticket;
    const isHttp = (opened.fields.features & HTTP_FEATURE) !== 0;
    const obstacle = isHttp ? request.httpObstacle : request.obstacle;
    const offset = opened.seconds - Math.floor(now / 1000);
    if (Math.abs(offset) > MAX_SKEW_SECONDS) return this.rejectClock(ticket, offset, now);
    if (this.replays.wasUsed(nonce, 'opened')) return { admitted: false, reason: 'replayed', peer };
    const reason = obstacle ?? (this.useUp(ticket, now) ? undefined : 'too-often');
    if (reason !== undefined) return { admitted: false, reason, peer, ...this.proof(ticket, reason, now) };
    const proof = this.retired && { rotationProof: rotationProofOf(known.sharedKey, nonce) };
    const httpLink = isHttp ? { httpLink: HttpLinkKey.of(known.sharedKey, nonce) } : {};
    const audience = opened.audience === undefined ? {} : { audience: opened.audience };
    return { admitted: true, peer, fields: opened.fields, ...audience, ...proof, ...httpLink };
  }

  private rejectClock(ticket: PeerTicket, offset: number, now: number): TicketDecision {
    const { peer, expectedOffset, nonce } = ticket;
    const common = { admitted: false, reason: offset < 0 ? 'late' : 'early', peer, offset } as const;
    // An old ticket that someone has recorded must not show that a relay is here.
    const isFresh = expectedOffset === undefined || Math.abs(offset - expectedOffset) <= SAME_OFFSET_SECONDS;
    if (!isFresh || this.mayBeOld(nonce, ticket.opened)) return common;
    if (expectedOffset !== undefined) this.clocks?.setOffset(ticket.known, offset, now);
    return { ...common, ...this.proof(ticket, 'clock-off', now) };
  }

  /** It may have been used when it was fresh. */
  private mayBeOld(nonce: Buffer, { seconds }: OpenedTicket): boolean {
    const isForgotten = (seconds - MAX_SKEW_SECONDS) * 1000 < this.replays.pastSince;
    return isForgotten || this.replays.wasUsedBefore(nonce, 'opened');
  }

  /** Once for each ticket, so that someone who has recorded it learns nothing from it. */
  private proof({ known, peer, nonce }: PeerTicket, reason: RefusalReason, now: number): { etag?: string } {
    if (this.replays.wasUsedBefore(nonce, 'answered') || !this.proofs.take(peer, now)) return {};
    if (!this.replays.remember(nonce, 'answered', peer, now)) return {};
    return { etag: sealRefusal(known.sharedKey, nonce, reason, now) };
  }

  /** False if the peer must wait. */
  private useUp({ peer, nonce, opened }: PeerTicket, now: number): boolean {
    const { role, destination } = opened.fields;
    if (role === 'exit' && destination !== '' && this.isRequested(peer, destination)) {
      // The relay has requested it, and its token is valid once. The ticket is remembered all the same, so that it
      // opens to no other link.
      this.replays.remember(nonce, 'opened', undefined, now);
      return true;
    }
    const rates = role === 'exit' && destination === '' ? this.controls : this.links;
    return rates.take(peer, now) && this.replays.remember(nonce, 'opened', peer, now);
  }

  /** One ticket proves nothing: it may be an old one. The next one from the same clock counts. */
  private learnOffset({ known, ticket, seconds }: Found, now: number): WrongClock | undefined {
    const opened = openTicket(known.sharedKey, ticket);
    if (typeof opened === 'string' || this.mayBeOld(ticket.nonce, opened)) return undefined;
    // It may have been used where it was meant to be.
    if (!this.isForUs(opened)) return undefined;
    if (this.replays.wasUsedBefore(ticket.nonce, 'answered')) return undefined;
    const peer = known.nameFor(opened.fields) ?? known.anyName;
    if (!this.replays.remember(ticket.nonce, 'answered', peer, now)) return undefined;
    const offset = opened.seconds - seconds;
    this.clocks?.setOffset(known, offset, now);
    return { peer, offset };
  }

  private sweep(now: number): void {
    if (Math.abs(now - this.sweptAt) < MAX_SKEW_SECONDS * 1000) return;
    this.sweptAt = now;
    for (const rates of [this.links, this.controls, this.proofs]) rates.sweep(now);
  }
}

/** The relay's current keys first, then its retired ones: a ticket opens with one of them or with none. */
export function openWithAny(
  openers: readonly TicketOpener[],
  text: string,
  now: number,
  request: TicketRequest = {},
): TicketDecision {
  let decision: TicketDecision = { admitted: false, reason: 'unknown' };
  for (const opener of openers) {
    decision = opener.open(text, now, request);
    if (decision.admitted || decision.reason !== 'unknown') return decision;
  }
  // Not for those with an old invite: they need a new one anyway.
  openers[0]?.searchClock(text, now);
  return decision;
}

/** What tells it from all other tickets, hex; undefined for what cannot be a ticket. */
export function nonceIn(text: string): string | undefined {
  return decodeTicket(text)?.nonce.toString('hex');
}

function nonceOf(ticket: string): Buffer {
  const decoded = decodeTicket(ticket);
  if (decoded === undefined) throw new RangeError('not a ticket');
  return decoded.nonce;
}
