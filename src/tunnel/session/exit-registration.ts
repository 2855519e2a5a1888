/**
 * A named exit's standing at its relay: keeps a control link, announces whose links may come, and answers each call
 * with a data link. Knows nothing of sessions: what runs on a data link is for the caller.
 */
import { setMaxListeners } from 'node:events';
import { WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import { ControlLink } from '../../transport/control-link.ts';
import {
  announcements,
  type ControlMessage,
  OCCUPIED_FEATURE,
  SEEN_FEATURE,
  TAKEN_FEATURE,
  WHEN_FREE_FEATURE,
} from '../../transport/control-messages.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import type { TicketDialer } from '../dial/ticket-dialer.ts';
import { Backoff, ExponentialDelays, type RetryDelays } from '../reconnect/backoff.ts';
import { InterruptibleDelay } from '../reconnect/interruptible-delay.ts';
import { Outage } from '../reconnect/outage.ts';

/** A call that is not answered by then is answered for nobody: the relay holds a client for 8 s. */
const ANSWER_LIMIT_MS = 10_000;
/**
 * Data links being dialled; a relay has 128 calls open at an exit, and takes 256 connections of its address at once.
 */
const MAX_ANSWERS = 256;
/**
 * Between two lists; of those that come meanwhile the last is sent. A relay acts on one a second, and reads no faster
 * for long.
 */
const ANNOUNCE_MS = 1_000;

/** Of the ticket for a control link: what this version understands beyond the first. */
const FEATURES = TAKEN_FEATURE | SEEN_FEATURE | OCCUPIED_FEATURE;

/**
 * At a relay that cannot say whether the place of an exit is free, one that was replaced takes it back by asking: so it
 * waits for a good while, and both of two that run beside each other serve in turn.
 */
const TAKEN_BACK: RetryDelays = { firstS: 40, longestS: 40 };
/** Being replaced again so soon after that is no accident, ms. */
const REPLACED_AGAIN_MS = 150_000;

export interface RegistrationHandler {
  /** A client's link; its handler must be set before the turn ends. */
  handleLink(link: MessageLink): void;
  /** The relay lets in whom we announced; once for each control link. */
  handleRegistered(relay: string): void;
  /** The relay has room for `keys` of the `of` keys that we announced, as yet: the others are refused. */
  handleTaken(keys: number, of: number): void;
  /** The relay sees this exit under that IP address; of the relay's word alone. */
  handleSeen(address: string): void;
  /** An attempt failed, or the control link was lost; the next attempt comes in `waitMs`. */
  handleLost(error: WstunError, waitMs: number): void;
}

type Dialer = Pick<TicketDialer, 'nextRelay' | 'dial' | 'rotationProofOf'>;

export class ExitRegistration {
  private readonly dialer: Dialer;
  private readonly handler: RegistrationHandler;
  private readonly logger: Logger;
  private readonly backoff = new Backoff();
  private readonly takingBack = new ExponentialDelays();
  private readonly pause = new InterruptibleDelay();
  private readonly outage: Outage;
  private readonly stopping = new AbortController();
  private keys: readonly string[] = [];
  private control: ControlLink | undefined;
  private announcedAt = Number.NEGATIVE_INFINITY;
  private announcing: NodeJS.Timeout | undefined;
  private answers = 0;
  /** Relays at which another has the place. */
  private readonly yieldsAt = new Set<string>();
  /** The last link ended with `replaced`: the next one throws out whoever has the place. */
  private wouldTakeBack = false;
  private replacedAt = Number.NEGATIVE_INFINITY;

  /** @param options once: as of OutageOptions */
  constructor(dialer: Dialer, handler: RegistrationHandler, logger: Logger, { once = false } = {}) {
    this.dialer = dialer;
    this.handler = handler;
    this.logger = logger;
    this.outage = new Outage({ backoff: this.backoff, once });
    // Each data link that is being dialled listens to it.
    setMaxListeners(0, this.stopping.signal);
  }

  /** Whose links may come, from now on. @param keys gate keys, base64url */
  setPeers(keys: readonly string[]): void {
    this.keys = keys;
    const waitMs = this.announcedAt + ANNOUNCE_MS - performance.now();
    if (waitMs <= 0) this.announce();
    else this.announcing ??= setTimeout(() => this.announce(), waitMs).unref();
  }

  /** Stays registered until `close`. Rejects with a WstunError where `Outage` finds a failure final. */
  async run(): Promise<void> {
    const { signal } = this.stopping;
    // The first attempt, which comes at once: by chance, too, because its share holds for the waits that follow.
    this.backoff.next(Math.random());
    while (!signal.aborted) {
      const error = await this.registerOnce(signal);
      if (signal.aborted) return;
      const verdict = this.outage.handleFailure(error, performance.now(), Math.random());
      if ('final' in verdict) throw verdict.final;
      const waitMs = this.wouldTakeBack ? this.takingBack.next(TAKEN_BACK, Math.random()) : verdict.waitMs;
      this.wouldTakeBack = false;
      this.handler.handleLost(error, waitMs);
      await this.pause.wait(waitMs);
    }
  }

  /** Of the ticket for a control link at that relay. */
  private featuresAt(relay: string): number {
    return this.yieldsAt.has(relay) ? FEATURES | WHEN_FREE_FEATURE : FEATURES;
  }

  /** What another of our name does to us. */
  private faultOfPlace({ type }: ControlMessage, relay: string): WstunError | undefined {
    if (type === 'replaced') return this.replaced();
    if (type !== 'occupied') return undefined;
    this.yieldsAt.add(relay);
    return new WstunError('exit-replaced');
  }

  /** By a relay that knows no better than to replace whoever is there. */
  private replaced(): WstunError {
    const isAgain = performance.now() - this.replacedAt < REPLACED_AGAIN_MS;
    this.replacedAt = performance.now();
    this.wouldTakeBack = true;
    const why =
      'again; the two exits replace each other, because this relay cannot report that the name is in use; stop one of them';
    return new WstunError('exit-replaced', isAgain ? why : '');
  }

  /** Takes no more calls; links that were handed out live on. */
  close(): void {
    this.stopping.abort();
    clearTimeout(this.announcing);
    this.pause.cut();
    this.control?.end();
  }

  /** The network has changed, or somebody asks: the control link is made anew, at once. */
  wake(): void {
    this.backoff.reset();
    // Not a goodbye: on the network of before nobody may be left to answer it.
    this.control?.abort();
    this.pause.cut();
  }

  /** Dials and holds one control link until it ends; why it did. */
  private async registerOnce(signal: AbortSignal): Promise<WstunError> {
    const relay = this.dialer.nextRelay();
    let link: MessageLink;
    try {
      const features = this.featuresAt(relay);
      link = await this.dialer.dial(relay, { role: 'exit', destination: '', features }, { signal });
    } catch (error) {
      return error instanceof WstunError ? error : new WstunError('internal', String(error));
    }
    const since = performance.now();
    const error = await this.hold(link, relay);
    this.backoff.handleLost(performance.now() - since);
    return error;
  }

  private hold(link: MessageLink, relay: string): Promise<WstunError> {
    return new Promise((resolve) => {
      let registered = false;
      let fault: WstunError | undefined;
      this.control = new ControlLink(link, {
        handleControl: (message) => {
          if (message.type === 'registered' && !registered) {
            this.handleKnown(relay);
            this.handler.handleRegistered(relay);
          }
          registered ||= message.type === 'registered';
          this.handleNews(message, relay);
          fault = this.faultOfPlace(message, relay) ?? fault;
          if (message.type === 'rotated') {
            if (this.dialer.rotationProofOf(link)?.toString('hex') !== message.proof) return false;
            fault = new WstunError('keys-rotated');
          }
          if (message.type === 'call') void this.answer(message.token, relay);
          // Only an exit says so.
          return message.type !== 'bearers';
        },
        handleEnd: ({ text }) => {
          this.control = undefined;
          resolve(fault ?? new WstunError('link-lost', text));
        },
      });
      this.announce();
      // Closed while the link was on its way.
      if (this.stopping.signal.aborted) this.control.end();
    });
  }

  /** What no relay of before says. */
  private handleNews(message: ControlMessage, relay: string): void {
    if (message.type === 'seen') this.handler.handleSeen(message.address);
    if (message.type !== 'taken') return;
    this.handleKnown(relay);
    this.handler.handleTaken(message.keys, message.of);
  }

  /** It knows us, if not all of our keys. */
  private handleKnown(relay: string): void {
    this.yieldsAt.delete(relay);
    this.outage.handleStanding();
  }

  private announce(): void {
    clearTimeout(this.announcing);
    this.announcing = undefined;
    if (this.control !== undefined) this.announcedAt = performance.now();
    for (const message of announcements(this.keys)) this.control?.send(message);
  }

  /** At the relay that called: no other knows of the client. */
  private async answer(token: string, relay: string): Promise<void> {
    if (this.answers >= MAX_ANSWERS) return;
    this.answers += 1;
    try {
      const link = await within(ANSWER_LIMIT_MS, this.stopping.signal, (signal) =>
        this.dialer.dial(relay, { role: 'exit', destination: token }, { signal, mask: 'zero' }),
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

/**
 * In place of AbortSignal.any, which leaves 110 bytes behind at a signal that lives on (Node 20), here with each
 * client.
 */
async function within<T>(limitMs: number, outer: AbortSignal, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const limit = new AbortController();
  const abort = (): void => limit.abort(outer.reason);
  const timer = setTimeout(() => limit.abort(new WstunError('relay-unreachable', 'no answer in time')), limitMs);
  outer.addEventListener('abort', abort, { once: true });
  if (outer.aborted) abort();
  try {
    return await act(limit.signal);
  } finally {
    clearTimeout(timer);
    outer.removeEventListener('abort', abort);
  }
}
