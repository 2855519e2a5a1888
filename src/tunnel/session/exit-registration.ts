/** A named exit's registration at one relay: keeps a control link, and has rendezvous requests answered with links. */
import { setMaxListeners } from 'node:events';
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { type ControlHandler, ControlLink } from '../../transport/control-link.ts';
import {
  announcements,
  type ControlMessage,
  ELSEWHERE_FEATURE,
  INSTANCE_FEATURE,
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
import { type CallAnswers, ELSEWHERE_LIMIT_MS } from './call-answers.ts';
import type { OtherRelays } from './other-relays.ts';

/** A relay may not send them. */
const FROM_EXITS: ReadonlySet<ControlMessage['type']> = new Set(['bearers', 'unreached']);

/** Between two lists; only the last one set meanwhile is sent. A relay processes one a second. */
const ANNOUNCE_MS = 1_000;

/** In the ticket for a control link: what this version understands beyond the first. */
const FEATURES = TAKEN_FEATURE | SEEN_FEATURE | OCCUPIED_FEATURE | ELSEWHERE_FEATURE;

/**
 * At a relay that cannot say whether an exit of the name is connected, an exit that was replaced replaces the other
 * when it registers again: so it waits for long, and two that run at the same time serve in turn.
 */
const TAKEN_BACK: RetryDelays = { firstS: 40, longestS: 40 };
/** An exit that is replaced again within this time has a rival, ms. */
const REPLACED_AGAIN_MS = 150_000;

/** The link that took the place has been made. Until this end of it is there, too, it may take so long, ms. */
const SETTLE_MS = 1_000;
/** Where another link of this exit has the place, it asks so seldom, ms: a name may lead to another relay by then. */
const REST_MS = 600_000;

export interface RegistrationHandler {
  /** A control link has come. */
  handleUp(): void;
  /** It has ended. @param hadPlace the relay did not say that another link of the name has its place */
  handleDown(hadPlace: boolean): void;
  /** Which relay it is; only a relay that knows how to says so. */
  handleInstance(id: string): void;
  /** The relay admits the announced peers; once for each control link. */
  handleRegistered(): void;
  /** The relay has room for `keys` of the `of` announced keys at the moment: the others are refused. */
  handleTaken(keys: number, of: number): void;
  /** The relay sees this exit under that IP address; only the relay says so. */
  handleSeen(address: string): void;
  /** An attempt failed, or the control link was lost; the next attempt follows in `waitMs`. */
  handleLost(error: WstunError, waitMs: number): void;
}

/**
 * Who has the place of an exit at a relay: `another` registration of this exit, or one that is to give it to `this`; a
 * link of this exit that the relay may still count, `perhaps`; or another exit.
 */
export type PlaceHolder = 'this' | 'another' | 'perhaps-own' | 'other-exit';

type Dialer = Pick<TicketDialer, 'dial' | 'rotationProofOf'>;

export interface RegistrationOptions {
  /** Its URL. */
  readonly relay: string;
  readonly dialer: Dialer;
  readonly handler: RegistrationHandler;
  readonly answers: CallAnswers;
  /** Where it may be called to. */
  readonly others: OtherRelays;
  /** For an exit with several URLs: who has the place that the link lost at that time by the clock, or did not get. */
  readonly holderOf?: ((lostAt: number) => PlaceHolder) | undefined;
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

/** What the relay said of another control link that has the name's place. */
type Rival = Extract<ControlMessage['type'], 'replaced' | 'occupied'>;

/** How a control link ended. */
interface LinkEnd {
  readonly error: WstunError;
  readonly rival?: Rival | undefined;
  /** By the clock, ms. */
  readonly at: number;
}

/** How this registration gives way to others of its name. */
class Yielding {
  /** The next ticket asks for the place only if it is free. */
  isPolite = false;
  private readonly takingBack = new ExponentialDelays();
  private hasTakenBack = false;
  private replacedAt = Number.NEGATIVE_INFINITY;

  handleAccepted(): void {
    this.isPolite = false;
    this.hasTakenBack = false;
  }

  /** To another link of this exit, as far as is known. Ms until the next attempt; undefined: as after a failure. */
  handleOwn(holder: Exclude<PlaceHolder, 'other-exit'>): number | undefined {
    this.isPolite = holder === 'another' || this.hasTakenBack;
    if (holder === 'another') return REST_MS;
    this.hasTakenBack = true;
    if (!this.isPolite) return 0;
    return holder === 'this' ? REST_MS : undefined;
  }

  /** To another exit. */
  handleRival(rival: Rival, now: number): WstunError {
    if (rival === 'replaced') return this.handleReplaced(now);
    this.isPolite = true;
    return new WstunError('exit-replaced');
  }

  /** Ms until the next attempt after `replaced`, which replaces the other exit. */
  takeBackAfter(random: number): number {
    return this.takingBack.next(TAKEN_BACK, random);
  }

  /** By an older relay, at which the newest exit of a name replaces the others. */
  private handleReplaced(now: number): WstunError {
    const isAgain = now - this.replacedAt < REPLACED_AGAIN_MS;
    this.replacedAt = now;
    const why =
      'again; the two exits replace each other, because this relay cannot report that the name is in use; stop one of them';
    return new WstunError('exit-replaced', isAgain ? why : '');
  }
}

/** Tells the relay of a control link whose links may come, at the pace of a relay. */
class Announcer {
  private keys: readonly string[] = [];
  private control: ControlLink | undefined;
  private sentAt = Number.NEGATIVE_INFINITY;
  private pending: Timer | undefined;

  constructor(private readonly clock: Clock) {}

  setKeys(keys: readonly string[]): void {
    this.keys = keys;
    const waitMs = this.sentAt + ANNOUNCE_MS - this.clock.now();
    if (waitMs <= 0) this.send();
    else if (this.pending === undefined) {
      this.pending = this.clock.setTimeout(() => this.send(), waitMs);
      this.pending.unref();
    }
  }

  /** The list is sent on it at once. @param control undefined: there is none */
  use(control: ControlLink | undefined): void {
    this.control = control;
    if (control !== undefined) this.send();
  }

  stop(): void {
    this.clock.clearTimeout(this.pending);
  }

  private send(): void {
    this.clock.clearTimeout(this.pending);
    this.pending = undefined;
    if (this.control !== undefined) this.sentAt = this.clock.now();
    for (const message of announcements(this.keys)) this.control?.send(message);
  }
}

export class ExitRegistration {
  private readonly clock: Clock;
  private readonly backoff = new Backoff();
  private readonly yielding = new Yielding();
  private readonly pause: InterruptibleDelay;
  private readonly outage = new Outage({ backoff: this.backoff });
  private readonly routes: RelayRoutes;
  private readonly announcer: Announcer;
  private readonly stopping = new AbortController();
  private control: ControlLink | undefined;
  private isLeaving = false;

  constructor(private readonly options: RegistrationOptions) {
    const { clock = systemClock } = options;
    this.clock = clock;
    this.routes = options.routes ?? new RelayRoutes({ clock });
    this.pause = new InterruptibleDelay(clock);
    this.announcer = new Announcer(clock);
    // Each data link that is being dialled listens to it.
    setMaxListeners(0, this.stopping.signal);
  }

  /** Whose links may come, from now on. @param keys gate keys, base64url */
  setPeers(keys: readonly string[]): void {
    this.announcer.setKeys(keys);
  }

  /** Stays registered until `close`. Rejects with a WstunError where `Outage` finds a failure final. */
  async run(): Promise<void> {
    const { signal } = this.stopping;
    // The first attempt comes at once. It takes a random number too, because its share holds for the waits that follow.
    this.backoff.next(this.clock.random());
    while (!signal.aborted) {
      const end = await this.registerOnce(signal);
      const { holderOf } = this.options;
      if (end.rival !== undefined && holderOf !== undefined && !signal.aborted) await this.pause.wait(SETTLE_MS);
      if (signal.aborted) return;
      const waitMs = this.waitAfter(end, end.rival && holderOf?.(end.at));
      // Whoever was told of the failure may have closed this.
      if (!signal.aborted) await this.pause.wait(waitMs);
    }
  }

  /** Answers no more requests; links that were handed out go on. */
  close(): void {
    this.stopping.abort();
    this.announcer.stop();
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

  /** Ends the current wait for the next attempt. */
  retryNow(): void {
    this.pause.interrupt();
  }

  /** Another link of this exit is at the same relay, and is kept. */
  leave(): void {
    this.isLeaving = this.control !== undefined;
    this.control?.end();
  }

  /** Ms until the next attempt. @throws WstunError there is none */
  private waitAfter({ error: lost, rival }: LinkEnd, holder: PlaceHolder = 'other-exit'): number {
    const { clock, yielding } = this;
    const ownMs = holder === 'other-exit' ? undefined : yielding.handleOwn(holder);
    if (ownMs !== undefined) return ownMs;
    const error = rival === undefined ? lost : yielding.handleRival(rival, clock.now());
    const decision = this.outage.handleFailure(error, clock.now(), clock.random());
    if ('final' in decision) throw decision.final;
    if (holder === 'perhaps-own') return decision.waitMs;
    const waitMs = rival === 'replaced' ? yielding.takeBackAfter(clock.random()) : decision.waitMs;
    this.options.handler.handleLost(error, waitMs);
    return waitMs;
  }

  /** In the ticket for a control link. */
  private get features(): number {
    const amongOthers = this.options.holderOf === undefined ? 0 : INSTANCE_FEATURE;
    return FEATURES | amongOthers | (this.yielding.isPolite ? WHEN_FREE_FEATURE : 0);
  }

  /** Dials one control link and keeps it until it ends; returns why it did. */
  private async registerOnce(signal: AbortSignal): Promise<LinkEnd> {
    const { relay } = this.options;
    let routed: RoutedLink<MessageLink>;
    try {
      const scope: TicketScope = { role: 'exit', destination: '', features: this.features };
      routed = await this.routes.dial(relay, this.attempt(scope), signal);
    } catch (error) {
      const fault = error instanceof WstunError ? error : new WstunError('internal', String(error));
      return { error: fault, at: this.clock.now() };
    }
    const since = this.clock.now();
    const end = await this.hold(routed);
    this.backoff.handleLost(this.clock.now() - since);
    return end;
  }

  private attempt(scope: TicketScope, mask?: 'zero', relay = this.options.relay) {
    const { dialer } = this.options;
    return (route: Route, options: AttemptOptions): Promise<MessageLink> =>
      dialer.dial(relay, scope, { ...options, route, ...(mask !== undefined && { mask }) });
  }

  private hold(routed: RoutedLink<MessageLink>): Promise<LinkEnd> {
    const { handler, dialer } = this.options;
    const { link } = routed;
    this.isLeaving = false;
    return new Promise((resolve) => {
      let registered = false;
      let fault: WstunError | undefined;
      let rival: Rival | undefined;
      let control: ControlLink | undefined;
      const silence = new SilenceLimit(routed, this.clock, () => control?.abort());
      const controlHandler: ControlHandler = {
        handlePing: () => {
          silence.handleMessage();
          return true;
        },
        handleControl: (message) => {
          silence.handleMessage();
          if (message.type === 'registered' && !registered) {
            this.handleAccepted();
            handler.handleRegistered();
          }
          registered ||= message.type === 'registered';
          if (message.type === 'replaced' || message.type === 'occupied') rival = message.type;
          if (message.type === 'rotated') {
            if (dialer.rotationProofOf(link)?.toString('hex') !== message.proof) return false;
            fault = new WstunError('keys-rotated');
          }
          if (message.type === 'call') void this.answer(message);
          this.handleInfo(message);
          return !FROM_EXITS.has(message.type);
        },
        handleEnd: ({ text }) => {
          this.useControl(undefined);
          silence.handleEnd(this.stopping.signal.aborted || this.isLeaving);
          if (this.isLeaving) rival = 'occupied';
          handler.handleDown(rival === undefined);
          resolve({ error: fault ?? new WstunError('link-lost', text), rival, at: this.clock.now() });
        },
      };
      control = new ControlLink(link, controlHandler, this.clock);
      handler.handleUp();
      this.useControl(control);
      // Closed while the link was on its way.
      if (this.stopping.signal.aborted) control.end();
    });
  }

  private useControl(control: ControlLink | undefined): void {
    this.control = control;
    this.announcer.use(control);
  }

  /** Messages that older relays do not send. */
  private handleInfo(message: ControlMessage): void {
    const { handler } = this.options;
    if (message.type === 'instance') handler.handleInstance(message.id);
    if (message.type === 'seen') handler.handleSeen(message.address);
    if (message.type !== 'taken') return;
    this.handleAccepted();
    handler.handleTaken(message.keys, message.of);
  }

  /** The relay has registered this exit, if not all of its keys. */
  private handleAccepted(): void {
    this.yielding.handleAccepted();
    this.outage.handleEstablished();
  }

  /** At the relay that has the client: the one that asked, unless it names another one. */
  private async answer({ token, relay: named }: Extract<ControlMessage, { type: 'call' }>): Promise<void> {
    const { answers, others, relay: own } = this.options;
    const isElsewhere = named !== undefined && named !== own;
    const relay = isElsewhere ? others.permit(named, this.clock.now()) : own;
    const refuse = () => this.control?.send({ type: 'unreached', token });
    if (relay === undefined) return refuse();
    // By the route of the control link: a token is good once, so that a second attempt could not use it.
    const attempt = this.attempt({ role: 'exit', destination: token }, 'zero', relay);
    const dial = async (signal: AbortSignal) => (await this.routes.dialAlike(relay, attempt, signal)).link;
    const { signal } = this.stopping;
    const limit = isElsewhere ? [ELSEWHERE_LIMIT_MS] : [];
    const isAnswered = await answers.answer(dial, signal, ...limit);
    if (isElsewhere && !isAnswered) refuse();
  }
}
