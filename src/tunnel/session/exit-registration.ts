/** A named exit's registration at its relay: keeps a control link, and answers rendezvous requests with links. */
import { setMaxListeners } from 'node:events';
import { withLimit } from '../../async/abortable.ts';
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import { type ControlHandler, ControlLink } from '../../transport/control-link.ts';
import {
  announcements,
  type ControlMessage,
  OCCUPIED_FEATURE,
  SEEN_FEATURE,
  TAKEN_FEATURE,
  WHEN_FREE_FEATURE,
} from '../../transport/control-messages.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { RelayRoutes, type RoutedLink } from '../dial/relay-routes.ts';
import type { AttemptOptions } from '../dial/route-dial.ts';
import type { TicketDialer, TicketScope } from '../dial/ticket-dialer.ts';
import { Backoff, ExponentialDelays, type RetryDelays } from '../reconnect/backoff.ts';
import { InterruptibleDelay } from '../reconnect/interruptible-delay.ts';
import { Outage } from '../reconnect/outage.ts';
import type { Route } from '../routes/route.ts';

/** An answer after this time finds no client: the relay holds one for 8 s. */
const ANSWER_LIMIT_MS = 10_000;
/** Data links being dialled; a relay has 128 requests open at an exit, and accepts 256 connections at once. */
const MAX_ANSWERS = 256;
/** Between two lists; only the last one set meanwhile is sent. A relay processes one a second. */
const ANNOUNCE_MS = 1_000;

/** In the ticket for a control link: what this version understands beyond the first. */
const FEATURES = TAKEN_FEATURE | SEEN_FEATURE | OCCUPIED_FEATURE;

/**
 * At a relay that cannot say whether an exit of the name is connected, an exit that was replaced replaces the other
 * when it registers again: so it waits for long, and two that run at the same time serve in turn.
 */
const TAKEN_BACK: RetryDelays = { firstS: 40, longestS: 40 };
/** An exit that is replaced again within this time has a rival, ms. */
const REPLACED_AGAIN_MS = 150_000;

export interface RegistrationHandler {
  /** A client's link; its handler must be set before the turn ends. */
  handleLink(link: MessageLink): void;
  /** The relay admits the announced peers; once for each control link. */
  handleRegistered(relay: string): void;
  /** The relay has room for `keys` of the `of` announced keys at the moment: the others are refused. */
  handleTaken(keys: number, of: number, relay: string): void;
  /** The relay sees this exit under that IP address; only the relay says so. */
  handleSeen(address: string): void;
  /** An attempt failed, or the control link was lost; the next attempt follows in `waitMs`. */
  handleLost(error: WstunError, waitMs: number): void;
}

export interface RegistrationOptions {
  /** As of OutageOptions. */
  readonly once?: boolean | undefined;
  /** Default: directly. */
  readonly routes?: RelayRoutes | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * For the first message of a relay on a control link, which it sends after an announcement of up to 460 KB or, at the
 * latest, as a ping after 5 s. Some networks carry the upgrade and nothing after it.
 */
const SILENT_MS = 10_000;

/** Tells whether a route carries anything, by the first message on its control link. */
class SilenceLimit {
  private limit: Timer | undefined;

  constructor(
    private readonly routed: RoutedLink<MessageLink>,
    private readonly clock: Clock,
    onSilent: () => void,
  ) {
    this.limit = clock.setTimeout(onSilent, SILENT_MS);
    this.limit.unref();
  }

  handleMessage(): void {
    if (this.isOver()) this.routed.noteCarried();
  }

  /** Without effect after a message. @param isOurs this exit has ended the link */
  handleEnd(isOurs: boolean): void {
    if (this.isOver() && !isOurs) this.routed.noteSilent();
  }

  /** True the first time. */
  private isOver(): boolean {
    if (this.limit === undefined) return false;
    this.clock.clearTimeout(this.limit);
    this.limit = undefined;
    return true;
  }
}

type Dialer = Pick<TicketDialer, 'nextRelay' | 'dial' | 'rotationProofOf'>;

export class ExitRegistration {
  private readonly clock: Clock;
  private readonly backoff = new Backoff();
  private readonly takingBack = new ExponentialDelays();
  private readonly pause: InterruptibleDelay;
  private readonly outage: Outage;
  private readonly routes: RelayRoutes;
  private readonly stopping = new AbortController();
  private keys: readonly string[] = [];
  private control: ControlLink | undefined;
  private announcedAt = Number.NEGATIVE_INFINITY;
  private announcing: Timer | undefined;
  private answers = 0;
  /** Relays at which another exit of the name is registered. */
  private readonly yieldsAt = new Set<string>();
  /** The last link ended with `replaced`: the next one replaces the other exit. */
  private wouldTakeBack = false;
  private replacedAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly dialer: Dialer,
    private readonly handler: RegistrationHandler,
    private readonly logger: Logger,
    options: RegistrationOptions = {},
  ) {
    const { once = false, clock = systemClock } = options;
    this.clock = clock;
    this.routes = options.routes ?? new RelayRoutes({ clock });
    this.pause = new InterruptibleDelay(clock);
    this.outage = new Outage({ backoff: this.backoff, once });
    // Each data link that is being dialled listens to it.
    setMaxListeners(0, this.stopping.signal);
  }

  /** Whose links may come, from now on. @param keys gate keys, base64url */
  setPeers(keys: readonly string[]): void {
    this.keys = keys;
    const waitMs = this.announcedAt + ANNOUNCE_MS - this.clock.now();
    if (waitMs <= 0) this.announce();
    else if (this.announcing === undefined) {
      this.announcing = this.clock.setTimeout(() => this.announce(), waitMs);
      this.announcing.unref();
    }
  }

  /** Stays registered until `close`. Rejects with a WstunError where `Outage` finds a failure final. */
  async run(): Promise<void> {
    const { signal } = this.stopping;
    // The first attempt comes at once. It takes a random number too, because its share holds for the waits that follow.
    this.backoff.next(this.clock.random());
    while (!signal.aborted) {
      const error = await this.registerOnce(signal);
      if (signal.aborted) return;
      const decision = this.outage.handleFailure(error, this.clock.now(), this.clock.random());
      if ('final' in decision) throw decision.final;
      const waitMs = this.wouldTakeBack ? this.takingBack.next(TAKEN_BACK, this.clock.random()) : decision.waitMs;
      this.wouldTakeBack = false;
      this.handler.handleLost(error, waitMs);
      await this.pause.wait(waitMs);
    }
  }

  /** In the ticket for a control link at that relay. */
  private featuresAt(relay: string): number {
    return this.yieldsAt.has(relay) ? FEATURES | WHEN_FREE_FEATURE : FEATURES;
  }

  /** Another exit of this name is registered. */
  private faultOfRival({ type }: ControlMessage, relay: string): WstunError | undefined {
    if (type === 'replaced') return this.replaced();
    if (type !== 'occupied') return undefined;
    this.yieldsAt.add(relay);
    return new WstunError('exit-replaced');
  }

  /** By an older relay, at which the newest exit of a name replaces the others. */
  private replaced(): WstunError {
    const isAgain = this.clock.now() - this.replacedAt < REPLACED_AGAIN_MS;
    this.replacedAt = this.clock.now();
    this.wouldTakeBack = true;
    const why =
      'again; the two exits replace each other, because this relay cannot report that the name is in use; stop one of them';
    return new WstunError('exit-replaced', isAgain ? why : '');
  }

  /** Answers no more requests; links that were handed out go on. */
  close(): void {
    this.stopping.abort();
    this.clock.clearTimeout(this.announcing);
    this.pause.interrupt();
    this.control?.end();
  }

  /** The network has changed, or the user asks: the control link is replaced at once. */
  reconnectNow(): void {
    this.backoff.reset();
    // Not a clean close: the previous network may be gone, and no answer would come.
    this.control?.abort();
    this.pause.interrupt();
  }

  /** Dials one control link and keeps it until it ends; returns why it did. */
  private async registerOnce(signal: AbortSignal): Promise<WstunError> {
    const relay = this.dialer.nextRelay();
    let routed: RoutedLink<MessageLink>;
    try {
      const scope: TicketScope = { role: 'exit', destination: '', features: this.featuresAt(relay) };
      routed = await this.routes.dial(relay, this.attemptAt(relay, scope), signal);
    } catch (error) {
      return error instanceof WstunError ? error : new WstunError('internal', String(error));
    }
    const since = this.clock.now();
    const error = await this.hold(routed, relay);
    this.backoff.handleLost(this.clock.now() - since);
    return error;
  }

  private attemptAt(relay: string, scope: TicketScope, mask?: 'zero') {
    return (route: Route, options: AttemptOptions): Promise<MessageLink> =>
      this.dialer.dial(relay, scope, { ...options, route, ...(mask !== undefined && { mask }) });
  }

  private hold(routed: RoutedLink<MessageLink>, relay: string): Promise<WstunError> {
    const { link } = routed;
    return new Promise((resolve) => {
      let registered = false;
      let fault: WstunError | undefined;
      let control: ControlLink | undefined;
      const silence = new SilenceLimit(routed, this.clock, () => control?.abort());
      const handler: ControlHandler = {
        handlePing: () => {
          silence.handleMessage();
          return true;
        },
        handleControl: (message) => {
          silence.handleMessage();
          if (message.type === 'registered' && !registered) {
            this.handleAccepted(relay);
            this.handler.handleRegistered(relay);
          }
          registered ||= message.type === 'registered';
          this.handleInfo(message, relay);
          fault = this.faultOfRival(message, relay) ?? fault;
          if (message.type === 'rotated') {
            if (this.dialer.rotationProofOf(link)?.toString('hex') !== message.proof) return false;
            fault = new WstunError('keys-rotated');
          }
          if (message.type === 'call') void this.answer(message.token, relay);
          // Only an exit may send that.
          return message.type !== 'bearers';
        },
        handleEnd: ({ text }) => {
          this.control = undefined;
          silence.handleEnd(this.stopping.signal.aborted);
          resolve(fault ?? new WstunError('link-lost', text));
        },
      };
      control = new ControlLink(link, handler, this.clock);
      this.control = control;
      this.announce();
      // Closed while the link was on its way.
      if (this.stopping.signal.aborted) this.control.end();
    });
  }

  /** Messages that older relays do not send. */
  private handleInfo(message: ControlMessage, relay: string): void {
    if (message.type === 'seen') this.handler.handleSeen(message.address);
    if (message.type !== 'taken') return;
    this.handleAccepted(relay);
    this.handler.handleTaken(message.keys, message.of, relay);
  }

  /** The relay has registered this exit, if not all of its keys. */
  private handleAccepted(relay: string): void {
    this.yieldsAt.delete(relay);
    this.outage.handleEstablished();
  }

  private announce(): void {
    this.clock.clearTimeout(this.announcing);
    this.announcing = undefined;
    if (this.control !== undefined) this.announcedAt = this.clock.now();
    for (const message of announcements(this.keys)) this.control?.send(message);
  }

  /** At the relay that asked: no other has the client. */
  private async answer(token: string, relay: string): Promise<void> {
    if (this.answers >= MAX_ANSWERS) return;
    this.answers += 1;
    try {
      const { link } = await withLimit(
        { clock: this.clock, signal: this.stopping.signal, limitMs: ANSWER_LIMIT_MS },
        () => new WstunError('relay-unreachable', 'no answer in time'),
        (signal) =>
          // By the route of the control link: a token is good once, so that a second attempt could not use it.
          this.routes.dialAlike(relay, this.attemptAt(relay, { role: 'exit', destination: token }, 'zero'), signal),
      );
      this.handler.handleLink(link);
    } catch (error) {
      const fault = error instanceof WstunError ? error.fault : String(error);
      this.logger.info({ fault }, 'a link for a client could not be opened');
    } finally {
      this.answers -= 1;
    }
  }
}
