/**
 * The sessions that an exit serves. A link that reaches it proves a key, then names a session: a new one, or one of the
 * same key that lost its link. Sessions are found again by the name of their peer too.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { DhKeyPair } from '../../crypto/x25519.ts';
import type { WireFaultName, WstunError } from '../../errors.ts';
import { type RateLimit, TokenBucket } from '../../limits/token-bucket.ts';
import {
  DEFAULT_MUX_CONFIG,
  DEFAULT_RESUME_CONFIG,
  type MuxConfig,
  PROCESS_RETRANSMIT_BYTES,
  type ResumeConfig,
} from '../../mux/config.ts';
import { RetransmitMemory } from '../../mux/retransmit-store.ts';
import type { Logger } from '../../observability/logger.ts';
import { encodeSessionAnswer, type SessionRequest } from '../../protocol/session-request.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { acceptSecureLink, type RetiredResponder } from '../dial/handshake.ts';
import type { SecureLink } from '../dial/secure-link.ts';
import { awaitRequest } from '../dial/session-exchange.ts';
import type { StreamAcceptor } from '../stream/stream.ts';
import { SessionDriver } from './session-driver.ts';

/**
 * Sessions without a link that one peer may leave behind, whatever its limit of sessions: a client that crashes again
 * and again. The one that lost its link first goes.
 */
const MAX_DETACHED_OF_BEARER = 16;

/** Lines of the log about resumptions of one session: 20 a minute. */
const RESUME_LINES: RateLimit = { perSecond: 20 / 60, burst: 20 };

export interface ExitSessionsOptions {
  /** The exit's session keys. */
  readonly keys: DhKeyPair;
  /** The access entry of a session public key, as the list stands now. */
  readonly peerOf: (sessionKey: Uint8Array) => string | undefined;
  /**
   * How many sessions a peer may have at once, as the list stands now. A lower limit ends none that lives. Without
   * it, any number.
   */
  readonly maxSessionsOf?: (peer: string) => number;
  /** Keys of before; their clients are told that theirs are void. */
  readonly retired?: readonly RetiredResponder[];
  /** True while no new session may begin. */
  readonly isOverloaded?: () => boolean;
  /** Other limits than the default ones. */
  readonly mux?: Partial<Omit<MuxConfig, 'role'>>;
  readonly acceptor: StreamAcceptor;
  readonly logger: Logger;
  /** How long a session without a link is kept, ms; default DEFAULT_RESUME_CONFIG. */
  readonly resumeWindowMs?: number;
}

interface Served {
  /** Of the key that began it and the client's id: no other key finds it. */
  readonly name: string;
  readonly peer: string;
  readonly driver: SessionDriver;
  readonly since: number;
  /** From its first resumption on. */
  resumeLines: TokenBucket | undefined;
  /** Resumptions since the last line about one. */
  unsaid: number;
}

/** A link whose keys stand, and whose it is. */
interface Comer {
  readonly link: SecureLink;
  readonly peer: string;
}

interface Arrival extends Comer {
  readonly sessionKey: Uint8Array;
}

export class ExitSessions {
  /** By name. */
  private readonly sessions = new Map<string, Served>();
  /**
   * By peer: without these, ten thousand that lose their links at once would be looked through ten thousand times.
   */
  private readonly counts = new Map<string, number>();
  /** Without a link, in the order in which they lost it. */
  private readonly detached = new Map<string, Set<Served>>();
  /** In their handshake, each for 20 s at most. */
  private readonly arriving = new Set<MessageLink>();
  private readonly options: ExitSessionsOptions;
  /** Of all sessions: a copy for each would cost it a kilobyte. */
  private readonly mux: MuxConfig;
  private readonly resumption: ResumeConfig;
  private readonly replayMemory = new RetransmitMemory(PROCESS_RETRANSMIT_BYTES);
  private closing = false;

  constructor(options: ExitSessionsOptions) {
    this.options = options;
    const { mux, resumeWindowMs = DEFAULT_RESUME_CONFIG.resumeWindowMs } = options;
    this.mux = { ...DEFAULT_MUX_CONFIG, ...mux, role: 'exit' };
    this.resumption = { ...DEFAULT_RESUME_CONFIG, resumeWindowMs };
  }

  get count(): number {
    return this.sessions.size;
  }

  /**
   * Serves a link until it ends: the handshake, the session's name, then the session. `admitted` is whom the gate let
   * in, where this exit has one; then the keys of ticket and handshake must be the same peer's.
   */
  serve(link: MessageLink, admitted?: string): void {
    if (this.closing) return link.abort();
    const { keys, peerOf, retired = [] } = this.options;
    this.arriving.add(link);
    acceptSecureLink(
      link,
      {
        keys,
        allowUnsealed: admitted !== undefined,
        retired,
        peerOf: (sessionKey) => {
          const peer = peerOf(sessionKey);
          return admitted === undefined || admitted === peer ? peer : undefined;
        },
      },
      {
        onSecured: (secured, peer, sessionKey) =>
          this.ask(link, { link: secured, peer }, (request) =>
            this.answer({ link: secured, peer, sessionKey }, request),
          ),
        onRetired: (secured, peer) =>
          this.ask(link, { link: secured, peer }, () => this.turnAway({ link: secured, peer }, 'keys-rotated')),
        onFailed: (error) => this.handleFailed(link, error, admitted),
      },
    );
  }

  private ask(raw: MessageLink, { link, peer }: Comer, onRequest: (request: SessionRequest) => void): void {
    awaitRequest(link, {
      onRequest: (request) => {
        this.arriving.delete(raw);
        onRequest(request);
      },
      onFailed: (error) => this.handleFailed(raw, error, peer),
    });
  }

  private handleFailed(link: MessageLink, { fault }: WstunError, peer: string | undefined): void {
    this.arriving.delete(link);
    this.options.logger.info({ remote: link.remote, peer, fault }, 'a session could not be opened');
  }

  // ── one session ────────────────────────────────────────────────────────────────────────────────────────────────────

  private answer(arrival: Arrival, request: SessionRequest): void {
    const name = nameOf(arrival.sessionKey, request.id);
    // The list may have changed between the handshake and this.
    const isWelcome = !this.closing && this.options.peerOf(arrival.sessionKey) === arrival.peer;
    if (!isWelcome) return arrival.link.abort();
    const known = this.sessions.get(name);
    if (request.kind === 'resume') this.resume(arrival, request, known);
    else if (known === undefined) this.begin(arrival, name);
    else this.turnAway(arrival, 'session-gap');
  }

  private begin(arrival: Arrival, name: string): void {
    const { link, peer } = arrival;
    if (this.options.isOverloaded?.()) return this.turnAway(arrival, 'overloaded');
    if (!this.makeRoomFor(peer)) return this.turnAway(arrival, 'too-many-sessions');
    const { acceptor, logger } = this.options;
    const driver = new SessionDriver({
      mux: this.mux,
      resume: this.resumption,
      replayMemory: this.replayMemory,
      logger,
      peer,
      acceptor,
      onLinkLost: () => this.handleLinkLost(served),
      onEnd: (fault) => this.handleEnd(served, fault),
    });
    const served: Served = { name, peer, driver, since: performance.now(), resumeLines: undefined, unsaid: 0 };
    this.sessions.set(name, served);
    this.counts.set(peer, this.countOf(peer) + 1);
    logger.info({ peer, remote: link.remote }, 'session started');
    this.carry(served, link, 0);
  }

  private resume(arrival: Arrival, { received }: SessionRequest, served: Served | undefined): void {
    const { link } = arrival;
    if (served === undefined || served.driver.isOver) return this.turnAway(arrival, 'session-unknown');
    // A request that was long on its way, or of an attempt that was given up: it ends nothing that works.
    if (!served.driver.fits(received)) return this.turnAway(arrival, 'session-gap');
    this.logResumed(served, link.remote);
    this.carry(served, link, received);
  }

  /** A path that cuts links after seconds would fill the log; what was left out is counted on the next line. */
  private logResumed(served: Served, remote: string): void {
    const now = performance.now();
    served.resumeLines ??= new TokenBucket(RESUME_LINES, now);
    const { peer, driver, unsaid } = served;
    const isSaid = served.resumeLines.acquire(now);
    const line = { peer, remote, streams: driver.streamCount, ...(isSaid && unsaid > 0 && { unsaid }) };
    served.unsaid = isSaid ? 0 : unsaid + 1;
    if (isSaid) this.options.logger.info(line, 'session resumed');
    else this.options.logger.debug(line, 'session resumed');
  }

  /** The answer is the first record on the link, so it must be on its way before the session may send. */
  private carry(served: Served, link: MessageLink, peerReceived: number): void {
    const { driver } = served;
    this.noLongerDetached(served);
    const saidReceived = driver.received;
    link.send([encodeSessionAnswer({ received: saidReceived })]);
    if (!driver.attachLink(link, { peerReceived, saidReceived })) link.close();
  }

  private turnAway({ link, peer }: Comer, fault: WireFaultName): void {
    this.options.logger.info({ peer, remote: link.remote, fault }, 'a session was rejected');
    link.send([encodeSessionAnswer({ fault })]);
    link.close();
  }

  private handleLinkLost(served: Served): void {
    const { peer, driver } = served;
    // Nobody can come back to it.
    if (this.closing) return driver.end('session-closed');
    this.options.logger.info({ peer, remote: driver.remote, streams: driver.streamCount }, 'session lost its link');
    const detached = this.detached.get(peer) ?? new Set();
    this.detached.set(peer, detached.add(served));
    if (detached.size > MAX_DETACHED_OF_BEARER) this.oldestDetached(peer)?.driver.end('session-expired');
  }

  private handleEnd(served: Served, fault: WireFaultName): void {
    const { name, peer, driver, since } = served;
    this.sessions.delete(name);
    this.noLongerDetached(served);
    const left = this.countOf(peer) - 1;
    if (left > 0) this.counts.set(peer, left);
    else this.counts.delete(peer);
    const seconds = Math.round((performance.now() - since) / 1000);
    this.options.logger.info({ peer, remote: driver.remote, fault, seconds }, 'session ended');
  }

  /**
   * A session that has lost its link gives way to a new one of its peer. Of those that have one the newest is
   * refused: ending an older one would let two clients with one invite throw each other out for ever.
   */
  private makeRoomFor(peer: string): boolean {
    const { maxSessionsOf } = this.options;
    if (maxSessionsOf === undefined) return true;
    if (this.countOf(peer) < maxSessionsOf(peer)) return true;
    const oldest = this.oldestDetached(peer);
    oldest?.driver.end('session-expired');
    return oldest !== undefined;
  }

  private countOf(peer: string): number {
    return this.counts.get(peer) ?? 0;
  }

  private oldestDetached(peer: string): Served | undefined {
    return this.detached.get(peer)?.values().next().value;
  }

  private noLongerDetached(served: Served): void {
    const detached = this.detached.get(served.peer);
    if (detached?.delete(served) && detached.size === 0) this.detached.delete(served.peer);
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Ends every session whose peer is not in `names` any more. */
  keepOnly(names: ReadonlySet<string>): void {
    this.endWhere((peer) => !names.has(peer), 'access-removed');
  }

  /** Takes no more links and streams, and ends all there are with the reason. */
  endAll(fault: WireFaultName): void {
    this.closing = true;
    for (const link of this.arriving) link.abort();
    this.endWhere(() => true, fault);
  }

  /** Takes no more links and streams; those streams that live have `graceMs` to end. */
  async close(graceMs: number): Promise<void> {
    this.closing = true;
    for (const link of this.arriving) link.abort();
    for (const { driver } of [...this.sessions.values()]) if (!driver.isAttached) driver.end('session-closed');
    const drained = Promise.all([...this.sessions.values()].map(({ driver }) => driver.drain()));
    const limit = new AbortController();
    await Promise.race([drained, delay(graceMs, undefined, { signal: limit.signal }).catch(() => {})]);
    limit.abort();
    this.endWhere(() => true, 'session-closed');
  }

  private endWhere(matches: (peer: string) => boolean, fault: WireFaultName): void {
    for (const { peer, driver } of [...this.sessions.values()]) if (matches(peer)) driver.end(fault);
  }
}

function nameOf(sessionKey: Uint8Array, id: Uint8Array): string {
  return Buffer.concat([sessionKey, id]).toString('base64');
}
