/**
 * By which of several relays a session goes: a better one, earlier in the list, is tried beside the link now and then,
 * and the session moves there without a gap; and a link through which nothing comes is left soon, because another relay
 * is at hand. It finds no link for a session that has none: reconnecting-session.ts does.
 */
import type { Clock, Timer } from '../../clock.ts';
import { type FaultName, WstunError } from '../../errors.ts';
import type { SessionLink as LinkState } from '../../mux/links/session-link.ts';
import type { Logger } from '../../observability/logger.ts';
import type { SessionRequest } from '../../protocol/session-request.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import type { SessionPlace } from '../dial/connectors.ts';
import type { SessionDialer, SessionLink } from '../dial/session-dialer.ts';
import type { EndedLink } from '../reconnect/link-limits.ts';
import { endedLink } from './link-facts.ts';
import type { SessionDriver } from './session-driver.ts';
import type { StallPatience } from './stall-patience.ts';

/** A better relay is tried so often, ms, × 0.75 to 1.25: a thousand clients have left it in the same second. */
const RETURN_MS = 30_000;
/** Twice as long where its link did not last, up to 8 min: each change of links costs a handshake. */
const MOST_DOUBLINGS = 4;
/** A link by it that lasts so long, ms, makes up for those before. */
const LASTING_MS = 60_000;
/** Where an exit of its own answers that it does not have the session: it will not have it soon, ms. */
const ELSEWHERE_MS = 600_000;
/** What comes on a link so soon after another one has taken its place, ms, shows that it carried all the time. */
const FALSE_ALARM_MS = 1_500;

/** For the relay that was left, ms: if it answers at once, the network has stopped the link, and not the relay. */
const ANSWER_MS = 1_000;

/** A request to join is refused, and one to resume may not be. */
const NOT_JOINED: ReadonlySet<FaultName> = new Set(['too-many-links', 'session-gap']);

export interface SessionRelaysOptions {
  readonly driver: SessionDriver;
  readonly dialer: SessionDialer;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Shared by the sessions of a client: it is about the network. Undefined: all ways are used at once anyway. */
  readonly patience: StallPatience | undefined;
  /** To join; called as late as possible. */
  request(): SessionRequest;
  /** A link by a better relay carries the session, which is leaving all others. */
  onMoved(opened: SessionLink): void;
  /** Links that were left because nothing came on them: and nothing has, although their relay answers. */
  onFroze(ended: readonly EndedLink[]): void;
}

/** Whether links that were left for another one have carried nothing indeed. */
interface Trial {
  readonly links: readonly LinkState[];
  readonly relay: string;
  readonly since: number;
}

export class SessionRelays {
  /** That of the session's link, or of its last one. */
  private relay: string | undefined;
  private isStalled = false;
  /** Dialled from here, not by a page. */
  private isOwn = false;
  private mustResume = false;
  /** The link is by a relay to which the session has returned, since then. */
  private returnedAt: number | undefined;
  private doublings = 0;
  private returning: AbortController | undefined;
  private returnTimer: Timer | undefined;
  private calmTimer: Timer | undefined;
  private trialTimer: Timer | undefined;

  constructor(private readonly options: SessionRelaysOptions) {}

  /** Where the session is, for the next dial. */
  get place(): SessionPlace | undefined {
    return this.relay === undefined ? undefined : { relay: this.relay, isStalled: this.isStalled };
  }

  /** A link that carries nothing is left soon. */
  get isHurried(): boolean {
    const { patience, dialer } = this.options;
    return patience !== undefined && this.isOwn && dialer.hasOtherRelays === true;
  }

  /** A link that is to take the place of one that stalls may join it: what still comes on that is not lost. */
  get joins(): boolean {
    const { driver } = this.options;
    return this.isHurried && this.isStalled && !this.mustResume && driver.isAttached && driver.canJoin;
  }

  /** There are relays to which it would return. */
  get hasBetter(): boolean {
    return this.better !== undefined;
  }

  /** A link carries the session from now on. */
  handleLink(link: MessageLink): void {
    const route = this.options.dialer.routeOf?.(link);
    if (this.isStalled) this.noteEnd();
    this.returnedAt = undefined;
    this.relay = route?.relay;
    this.isOwn = route !== undefined && route.carrier !== 'page';
    this.isStalled = false;
    this.mustResume = false;
    this.follow();
  }

  /** There may be other relays now. */
  follow(): void {
    this.hurry();
    if (this.returning === undefined) this.setReturnTimer(RETURN_MS);
  }

  handleStalled(): void {
    this.isStalled = true;
  }

  /** Something comes through. */
  handleStallOver(): void {
    // Where another link has taken its place, that is what carries.
    if (this.isStalled) this.handleFalseAlarm();
    this.isStalled = false;
  }

  /** The session has no link any more. */
  handleLost(): void {
    this.noteEnd();
    this.returning?.abort();
    this.options.clock.clearTimeout(this.returnTimer);
  }

  /**
   * Another link has joined, and the session is leaving those that stalled; or it has taken their place, and they are
   * gone: none. @param relay theirs
   */
  handleLeft(stalled: readonly LinkState[], relay: string): void {
    const { clock } = this.options;
    const trial = { links: stalled, relay, since: clock.now() };
    clock.clearTimeout(this.trialTimer);
    this.trialTimer = clock.setTimeout(() => void this.endTrial(trial), FALSE_ALARM_MS);
    this.trialTimer.unref();
  }

  /** True: the session may still be resumed, although it could not be joined. */
  handleNotJoined(error: WstunError): boolean {
    this.mustResume ||= NOT_JOINED.has(error.fault);
    return this.mustResume;
  }

  handleNetworkChanged(): void {
    this.doublings = 0;
    this.follow();
  }

  /** The session is over. */
  stop(): void {
    const { clock } = this.options;
    this.returning?.abort();
    for (const timer of [this.returnTimer, this.calmTimer, this.trialTimer]) clock.clearTimeout(timer);
    this.relay = undefined;
  }

  // ── stalls ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  private hurry(): void {
    const { driver, patience, clock } = this.options;
    clock.clearTimeout(this.calmTimer);
    const now = clock.now();
    driver.hurry(this.isHurried ? patience?.timesAt(now) : undefined);
    const at = patience?.changesAt ?? Number.POSITIVE_INFINITY;
    if (at === Number.POSITIVE_INFINITY || !this.isHurried) return;
    this.calmTimer = clock.setTimeout(() => this.hurry(), Math.max(0, at - now));
    this.calmTimer.unref();
  }

  private async endTrial({ links, relay, since }: Trial): Promise<void> {
    const { clock, dialer, onFroze } = this.options;
    if (links.some(({ heardAt }) => heardAt > since)) return this.handleFalseAlarm();
    const ended = links.map((state) => endedLink(state, 'froze', clock.now()));
    const abort = new AbortController();
    const limit = clock.setTimeout(() => abort.abort(), ANSWER_MS);
    limit.unref();
    const isNetworks = await dialer.answers?.(relay, abort.signal);
    clock.clearTimeout(limit);
    if (!isNetworks || this.options.driver.isOver) return;
    // Of links that are gone nobody knows whether they would have brought something.
    if (links.length === 0) this.handleFalseAlarm();
    else onFroze(ended);
  }

  private handleFalseAlarm(): void {
    const { patience, clock } = this.options;
    if (!this.isHurried) return;
    patience?.handleFalseAlarm(clock.now());
    this.hurry();
  }

  // ── the way back ───────────────────────────────────────────────────────────────────────────────────────────────────

  private get better(): SessionDialer | undefined {
    const { dialer, patience } = this.options;
    if (patience === undefined || !this.isOwn || this.relay === undefined) return undefined;
    return dialer.betterThan?.(this.relay);
  }

  private setReturnTimer(delayMs: number): void {
    const { clock } = this.options;
    clock.clearTimeout(this.returnTimer);
    if (this.better === undefined) return;
    const waitMs = delayMs * 2 ** this.doublings * (0.75 + clock.random() / 2);
    this.returnTimer = clock.setTimeout(() => void this.tryBetter(), waitMs);
    this.returnTimer.unref();
  }

  private async tryBetter(): Promise<void> {
    const { driver, request, logger } = this.options;
    const { better } = this;
    if (better === undefined || !driver.canJoin || this.isStalled) return this.setReturnTimer(RETURN_MS);
    const abort = new AbortController();
    this.returning = abort;
    let delayMs = RETURN_MS;
    try {
      this.handleBetter(await better.dial(request, abort.signal, 'further'), abort.signal);
    } catch (cause) {
      const fault = cause instanceof WstunError ? cause.fault : String(cause);
      if (!abort.signal.aborted) logger.debug({ fault }, 'a better relay does not carry the session');
      if (fault === 'session-unknown') delayMs = ELSEWHERE_MS;
    }
    this.returning = undefined;
    if (!abort.signal.aborted) this.setReturnTimer(delayMs);
  }

  private handleBetter(opened: SessionLink, signal: AbortSignal): void {
    const { driver, onMoved, clock } = this.options;
    if (signal.aborted || !driver.moveToLink(opened.link, opened.peerReceived)) return opened.link.abort();
    onMoved(opened);
    this.returnedAt = clock.now();
  }

  /** Of the link so far: one by a better relay that is lost or left soon is not returned to as fast. */
  private noteEnd(): void {
    const { returnedAt } = this;
    this.returnedAt = undefined;
    if (returnedAt === undefined) return;
    const hasLasted = this.options.clock.now() - returnedAt >= LASTING_MS;
    this.doublings = hasLasted ? 0 : Math.min(this.doublings + 1, MOST_DOUBLINGS);
  }
}
