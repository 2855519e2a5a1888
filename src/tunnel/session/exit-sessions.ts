/** The sessions that an exit serves. A link proves a key, then names a new session, or one of the same key. */
import { settledWithin } from '../../async/abortable.ts';
import { type Clock, systemClock } from '../../clock.ts';
import type { DhKeyPair } from '../../crypto/x25519.ts';
import type { WireFaultName, WstunError } from '../../errors.ts';
import { type RateLimit, TokenBucket } from '../../limits/token-bucket.ts';
import { DEFAULT_MUX_CONFIG, type MuxConfig } from '../../mux/config.ts';
import { DEFAULT_RESUME_CONFIG, PROCESS_RETRANSMIT_BYTES } from '../../mux/links/resume-config.ts';
import { RetransmitMemory } from '../../mux/links/retransmit-store.ts';
import type { Logger } from '../../observability/logger.ts';
import type { ToldRelays } from '../../protocol/relays.ts';
import { encodeSessionAnswer, type SessionRequest } from '../../protocol/session-request.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { acceptSecureLink, type RetiredResponder } from '../dial/handshake.ts';
import type { SecureLink } from '../dial/secure-link.ts';
import { awaitRequest, type RequestEvents } from '../dial/session-exchange.ts';
import type { StreamAcceptor } from '../stream/stream.ts';
import { SessionCounts } from './session-counts.ts';
import { SessionDriver, type SessionOptions, type SessionOwner } from './session-driver.ts';
import type { PassedSession, SessionPlace, SessionPlaces } from './session-places.ts';

export type { ToldRelays };

/** Sessions without a link of one peer: a client may crash again and again. The oldest one is ended. */
const MAX_DETACHED_OF_PEER = 16;

/** A link of a session with as many as it may have makes room for a new one after so much silence, ms. */
const SILENT_LINK_MS = 3_000;

/** Log lines about resumptions of one session: 20 a minute. */
const RESUME_LINES: RateLimit = { perSecond: 20 / 60, burst: 20 };

export interface ExitSessionsOptions {
  /** The exit's session keys. */
  readonly keys: DhKeyPair;
  /** The access entry of a session public key, by the current list. */
  readonly peerOf: (sessionKey: Uint8Array) => string | undefined;
  /** Sessions that a peer may have at once, by the current list; a lower limit ends none. Default: any number. */
  readonly maxSessionsOf?: (peer: string) => number;
  /** Previous keys; their clients are told that the keys were rotated. */
  readonly retired?: readonly RetiredResponder[];
  /** True while no new session may begin. */
  readonly isOverloaded?: () => boolean;
  /** True while sessions may have no further link beside others: new sessions need those that are left. */
  readonly isShortOfLinks?: () => boolean;
  /** Other limits than the default ones. */
  readonly mux?: Partial<Omit<MuxConfig, 'role'>>;
  readonly acceptor: StreamAcceptor;
  readonly logger: Logger;
  /** Default: nobody reads them. */
  readonly counts?: SessionCounts;
  /** Other processes that serve the sessions of this exit. Default: there are none. */
  readonly places?: SessionPlaces | undefined;
  /** All sessions of that peer must be in one process. Default: of none. */
  readonly isTogether?: (peer: string) => boolean;
  /** How long a session without a link is kept, ms; default DEFAULT_RESUME_CONFIG. */
  readonly resumeWindowMs?: number;
  /** The relays that lead here, as clients are told of them when a session begins. Default: they are told nothing. */
  readonly relays?: () => ToldRelays | undefined;
  readonly clock?: Clock;
}

/** What happens to a session, for all of them. */
interface EntryOwner {
  handleEstablished(entry: SessionEntry): void;
  handleLinkLost(entry: SessionEntry): void;
  handleEnd(entry: SessionEntry, fault: WireFaultName): void;
}

/** What can be told of a session. */
export interface ServedSession {
  readonly peer: string;
  /** By the clock, ms. */
  readonly since: number;
  readonly driver: Pick<
    SessionDriver,
    'remote' | 'isAttached' | 'eachLink' | 'linkCount' | 'streamCount' | 'transferred'
  >;
}

class SessionEntry implements SessionOwner {
  readonly driver: SessionDriver;
  readonly since: number;
  /** From its first resumption on. */
  resumeLines: TokenBucket | undefined;
  /** Resumptions since the last line about one. */
  unlogged = 0;
  /** Its client was told of several relays. */
  knowsRelays = false;

  /** @param name the key that began it and the client's id: no other key finds it */
  constructor(
    readonly name: string,
    readonly peer: string,
    options: SessionOptions,
    private readonly owner: EntryOwner,
  ) {
    this.driver = new SessionDriver(options, this);
    this.since = Math.floor(this.driver.clock.now());
  }

  onEstablished(): void {
    this.owner.handleEstablished(this);
  }

  onLinkLost(): void {
    this.owner.handleLinkLost(this);
  }

  onEnd(fault: WireFaultName): void {
    this.owner.handleEnd(this, fault);
  }
}

/** A link whose keys are agreed on, and its peer. */
interface PeerLink {
  readonly link: MessageLink;
  readonly peer: string;
}

interface KnownLink extends PeerLink {
  readonly sessionKey: Uint8Array;
}

export class ExitSessions implements EntryOwner {
  /** By name. */
  private readonly sessions = new Map<string, SessionEntry>();
  /** By peer: ten thousand sessions that lose their links at once must not be searched ten thousand times. */
  private readonly counts = new Map<string, number>();
  /** Those without a link, in the order in which they lost it. */
  private readonly detached = new Map<string, Set<SessionEntry>>();
  /** Links in their handshake or session exchange, each for 20 s at most. */
  private readonly pendingLinks = new Set<MessageLink>();
  /** Shared by all sessions: a copy for each would cost a kilobyte. */
  private shared: SessionOptions;
  private readonly clock: Clock;
  private readonly tallied: SessionCounts;
  private closing = false;

  constructor(private readonly options: ExitSessionsOptions) {
    this.clock = options.clock ?? systemClock;
    this.tallied = options.counts ?? new SessionCounts();
    const { mux, acceptor, logger, resumeWindowMs = DEFAULT_RESUME_CONFIG.resumeWindowMs } = options;
    this.shared = {
      mux: { ...DEFAULT_MUX_CONFIG, ...mux, role: 'exit' },
      resume: { ...DEFAULT_RESUME_CONFIG, resumeWindowMs },
      replayMemory: new RetransmitMemory(PROCESS_RETRANSMIT_BYTES),
      ...{ logger, acceptor, clock: this.clock },
    };
    options.places?.setSessionHandler({
      handlePassed: (session, link) => this.handlePassed(session, link),
      makeRoom: (peer) => this.endDetached(peer),
    });
  }

  /** For sessions that begin from now on, ms; undefined: the default. */
  setResumeWindow(resumeWindowMs: number = DEFAULT_RESUME_CONFIG.resumeWindowMs): void {
    this.shared = { ...this.shared, resume: { ...DEFAULT_RESUME_CONFIG, resumeWindowMs } };
  }

  get count(): number {
    return this.sessions.size;
  }

  /** The oldest first. */
  get all(): Iterable<ServedSession> {
    return this.sessions.values();
  }

  /** Serves a link until it ends. @param admitted the gate's peer, which must be that of the handshake's key */
  serve(link: MessageLink, admitted?: string): void {
    if (this.closing) return link.abort();
    const { keys, peerOf, retired = [] } = this.options;
    this.pendingLinks.add(link);
    const { handshakeTime } = this.tallied;
    const since = handshakeTime === undefined ? 0 : this.clock.now();
    acceptSecureLink(
      link,
      {
        keys,
        clock: this.clock,
        allowUnsealed: admitted !== undefined,
        retired,
        peerOf: (sessionKey) => {
          const peer = peerOf(sessionKey);
          return admitted === undefined || admitted === peer ? peer : undefined;
        },
      },
      {
        onSecured: (secured, peer, sessionKey) => {
          handshakeTime?.observe((this.clock.now() - since) / 1000);
          this.awaitRequest(link, { link: secured, peer }, (request) =>
            this.answer({ link: secured, peer, sessionKey }, request),
          );
        },
        onRetired: (secured, peer) =>
          this.awaitRequest(link, { link: secured, peer }, () => this.reject({ link: secured, peer }, 'keys-rotated')),
        onFailed: (error) => this.handleFailed(link, error, admitted),
      },
    );
  }

  private awaitRequest(
    raw: MessageLink,
    { link, peer }: { readonly link: SecureLink; readonly peer: string },
    onRequest: (request: SessionRequest) => void,
  ): void {
    const events: RequestEvents = {
      onRequest: (request) => {
        this.pendingLinks.delete(raw);
        onRequest(request);
      },
      onFailed: (error) => this.handleFailed(raw, error, peer),
    };
    awaitRequest(link, events, this.clock);
  }

  private handleFailed(link: MessageLink, { fault }: WstunError, peer: string | undefined): void {
    this.pendingLinks.delete(link);
    this.tallied.refused.note(fault);
    this.options.logger.info({ remote: link.remote, peer, fault }, 'a session could not be opened');
  }

  // ── one session ────────────────────────────────────────────────────────────────────────────────────────────────────

  private answer(known: KnownLink, request: SessionRequest): void {
    const name = nameOf(known.sessionKey, request.id);
    // The list may have changed between the handshake and this.
    const isAllowed = !this.closing && this.options.peerOf(known.sessionKey) === known.peer;
    if (!isAllowed) return known.link.abort();
    const entry = this.sessions.get(name);
    const { places } = this.options;
    if (places !== undefined && entry === undefined) void this.answerByPlace(places, known, name, request);
    else this.answerHere(known, name, request);
  }

  private answerHere(known: KnownLink, name: string, request: SessionRequest): void {
    const entry = this.sessions.get(name);
    if (request.kind === 'resume') this.resume(known, request, entry);
    else if (request.kind === 'join') this.join(known, request, entry);
    else if (entry === undefined) this.begin(known, name);
    else this.reject(known, 'session-gap');
  }

  // ── with other processes ───────────────────────────────────────────────────────────────────────────────────────────

  /** The session is not here: another process may have it, or is to have it. */
  private async answerByPlace(
    places: SessionPlaces,
    known: KnownLink,
    name: string,
    request: SessionRequest,
  ): Promise<void> {
    const { link, peer, sessionKey } = known;
    // A client may send right after its request to begin.
    link.pause();
    const isNew = request.kind === 'begin';
    const place = isNew ? await this.placeNew(places, name, peer) : await places.find(name);
    const isAllowed = !this.closing && this.options.peerOf(sessionKey) === peer;
    if (!isAllowed) link.abort();
    else if (place === 'too-many-sessions') this.reject(known, place);
    else if (place === undefined || place === 'here') this.answerHere(known, name, request);
    else return this.pass(places, place, known, request);
    if (place === 'here' && !this.sessions.has(name)) places.handleOver(name);
    link.resume();
  }

  private async placeNew(places: SessionPlaces, name: string, peer: string): Promise<SessionPlace> {
    const most = this.options.maxSessionsOf?.(peer) ?? Number.MAX_SAFE_INTEGER;
    const limits = { most, together: this.options.isTogether?.(peer) ?? false };
    const place = await places.place(name, peer, limits);
    if (place !== 'too-many-sessions' || !this.endDetached(peer)) return place;
    return places.place(name, peer, limits);
  }

  private pass(
    places: SessionPlaces,
    place: SessionPlace,
    { link, peer, sessionKey }: KnownLink,
    request: SessionRequest,
  ): void {
    const { kind, id, received } = request;
    const asked = { kind, id: Buffer.from(id).toString('hex'), received };
    places.passSession(place, { peer, sessionKey: Buffer.from(sessionKey).toString('hex'), request: asked }, link);
  }

  /** A link of a session that is here, or is to begin here, came to another process. */
  private handlePassed({ peer, sessionKey, request }: PassedSession, link: MessageLink): void {
    const known = { link, peer, sessionKey: Buffer.from(sessionKey, 'hex') };
    const { kind, id, received } = request;
    this.answer(known, { kind, id: Buffer.from(id, 'hex'), received });
  }

  private begin(known: KnownLink, name: string): void {
    const { link, peer } = known;
    if (this.options.isOverloaded?.()) return this.reject(known, 'overloaded');
    if (!this.makeRoomFor(peer)) return this.reject(known, 'too-many-sessions');
    const entry = new SessionEntry(name, peer, this.shared, this);
    this.sessions.set(name, entry);
    this.counts.set(peer, this.countOf(peer) + 1);
    this.tallied.started += 1;
    this.options.logger.info({ peer, remote: link.remote }, 'session started');
    this.attach(entry, link, 0);
  }

  private resume(known: KnownLink, { received }: SessionRequest, entry: SessionEntry | undefined): void {
    const { link } = known;
    if (entry === undefined || entry.driver.isOver) return this.reject(known, 'session-unknown');
    // A request that was delayed, or of an aborted attempt, must not end a session that works.
    if (!entry.driver.fits(received)) return this.reject(known, 'session-gap');
    if (!entry.driver.isAttached) this.tallied.resumed += 1;
    this.logResumed(entry, link.remote);
    this.attach(entry, link, received);
  }

  /** One more link for a session, beside those that it has. */
  private join(known: KnownLink, { received }: SessionRequest, entry: SessionEntry | undefined): void {
    const { link } = known;
    if (entry === undefined || entry.driver.isOver) return this.reject(known, 'session-unknown');
    const { driver } = entry;
    // The client may have lost a link of which this end knows nothing yet.
    if (!driver.canJoin) driver.dropSilentLink(SILENT_LINK_MS);
    const { isOverloaded, isShortOfLinks } = this.options;
    const isExtra = driver.isAttached && (isOverloaded?.() || isShortOfLinks?.());
    if (isExtra || !driver.canJoin) return this.reject(known, 'too-many-links');
    if (!driver.mayJoin(received)) return this.reject(known, 'session-gap');
    this.removeDetached(entry);
    link.send([encodeSessionAnswer({ received: driver.received })]);
    if (!driver.joinLink(link, received)) link.close();
    this.options.logger.debug({ peer: entry.peer, remote: link.remote, links: driver.linkCount }, 'one more link');
  }

  /** A path that aborts links after seconds would fill the log; omitted lines are counted on the next one. */
  private logResumed(entry: SessionEntry, remote: string): void {
    const now = this.clock.now();
    entry.resumeLines ??= new TokenBucket(RESUME_LINES, now);
    const { peer, driver, unlogged } = entry;
    const isLogged = entry.resumeLines.acquire(now);
    const line = { peer, remote, streams: driver.streamCount, ...(isLogged && unlogged > 0 && { unsaid: unlogged }) };
    entry.unlogged = isLogged ? 0 : unlogged + 1;
    if (isLogged) this.options.logger.info(line, 'session resumed');
    else this.options.logger.debug(line, 'session resumed');
  }

  /** The answer is the first record on the link, so it must be on its way before the session may send. */
  private attach(entry: SessionEntry, link: MessageLink, peerReceived: number): void {
    const { driver } = entry;
    this.removeDetached(entry);
    const saidReceived = driver.received;
    link.send([encodeSessionAnswer({ received: saidReceived })]);
    if (!driver.attachLink(link, { peerReceived, saidReceived })) link.close();
  }

  private reject({ link, peer }: PeerLink, fault: WireFaultName): void {
    this.tallied.refused.note(fault);
    this.options.logger.info({ peer, remote: link.remote, fault }, 'a session was rejected');
    link.send([encodeSessionAnswer({ fault })]);
    link.close();
  }

  handleEstablished(entry: SessionEntry): void {
    const { relays } = this.options;
    const told = relays?.();
    // One relay alone is known to a client that has come by it; it counts where there were others before.
    if (told === undefined || (told.urls.length < 2 && !entry.knowsRelays)) return;
    entry.knowsRelays = true;
    entry.driver.tellRelays(told);
  }

  /** They have changed: the clients of all sessions are told. */
  tellRelays(): void {
    for (const entry of this.sessions.values()) this.handleEstablished(entry);
  }

  handleLinkLost(entry: SessionEntry): void {
    const { peer, driver } = entry;
    // No link is accepted any more.
    if (this.closing) return driver.end('session-closed');
    this.options.logger.info({ peer, remote: driver.remote, streams: driver.streamCount }, 'session lost its link');
    const detached = this.detached.get(peer) ?? new Set();
    this.detached.set(peer, detached.add(entry));
    if (detached.size > MAX_DETACHED_OF_PEER) this.oldestDetached(peer)?.driver.end('session-expired');
  }

  handleEnd(entry: SessionEntry, fault: WireFaultName): void {
    const { name, peer, driver, since } = entry;
    this.sessions.delete(name);
    this.options.places?.handleOver(name);
    this.tallied.noteEnd(fault, driver.transferred);
    this.removeDetached(entry);
    const left = this.countOf(peer) - 1;
    if (left > 0) this.counts.set(peer, left);
    else this.counts.delete(peer);
    const seconds = Math.round((this.clock.now() - since) / 1000);
    this.options.logger.info({ peer, remote: driver.remote, fault, seconds }, 'session ended');
  }

  /** Only a session without a link makes room: otherwise two clients with one invite end each other's for ever. */
  private makeRoomFor(peer: string): boolean {
    const { maxSessionsOf } = this.options;
    if (maxSessionsOf === undefined) return true;
    return this.countOf(peer) < maxSessionsOf(peer) || this.endDetached(peer);
  }

  /** The oldest one. False: there is none. */
  private endDetached(peer: string): boolean {
    const oldest = this.oldestDetached(peer);
    oldest?.driver.end('session-expired');
    return oldest !== undefined;
  }

  private countOf(peer: string): number {
    return this.counts.get(peer) ?? 0;
  }

  private oldestDetached(peer: string): SessionEntry | undefined {
    return this.detached.get(peer)?.values().next().value;
  }

  private removeDetached(entry: SessionEntry): void {
    const detached = this.detached.get(entry.peer);
    if (detached?.delete(entry) && detached.size === 0) this.detached.delete(entry.peer);
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Ends every session whose peer is not in `names` any more. */
  keepOnly(names: ReadonlySet<string>): void {
    this.endWhere((peer) => !names.has(peer), 'access-removed');
  }

  /** Accepts no more links and streams, and ends all sessions with the reason. */
  endAll(fault: WireFaultName): void {
    this.closing = true;
    for (const link of this.pendingLinks) link.abort();
    this.endWhere(() => true, fault);
  }

  /** Accepts no more links and streams; open streams have `graceMs` to end. */
  async close(graceMs: number): Promise<void> {
    this.closing = true;
    for (const link of this.pendingLinks) link.abort();
    for (const { driver } of [...this.sessions.values()]) if (!driver.isAttached) driver.end('session-closed');
    const drained = Promise.all([...this.sessions.values()].map(({ driver }) => driver.drain()));
    await settledWithin(this.clock, graceMs, drained);
    this.endWhere(() => true, 'session-closed');
  }

  private endWhere(matches: (peer: string) => boolean, fault: WireFaultName): void {
    for (const { peer, driver } of [...this.sessions.values()]) if (matches(peer)) driver.end(fault);
  }
}

function nameOf(sessionKey: Uint8Array, id: Uint8Array): string {
  return Buffer.concat([sessionKey, id]).toString('base64');
}
