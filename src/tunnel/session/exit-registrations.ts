/**
 * A named exit's registrations at all relays of its invite, side by side: it is registered while one of them stands.
 * Each goes on by itself; what one may not know of the others is decided here.
 */
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import type { Tally } from '../../observability/tally.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import type { RelayRoutes } from '../dial/relay-routes.ts';
import type { TicketDialer } from '../dial/ticket-dialer.ts';
import { LASTING_MS } from '../reconnect/outage.ts';
import { CallAnswers } from './call-answers.ts';
import {
  ExitRegistration,
  type PlaceHolder,
  type RegistrationHandler,
  type RegistrationOptions,
} from './exit-registration.ts';
import { OtherRelays } from './other-relays.ts';
import { RelayNames } from './relay-names.ts';

/** The relay ends the older of two links. Where it has not done that for so long, ms, this exit ends one. */
const DOUBLE_MS = 5_000;

/** What is known of the registration at one relay. */
export interface RelayPlace {
  readonly relay: string;
  /** Since when it stands, by the clock, ms. */
  readonly registeredAt?: number | undefined;
  /** Why it does not. */
  readonly error?: WstunError | undefined;
  /** The URL at which the same relay has this exit. */
  readonly sameAs?: string | undefined;
}

export interface RegistrationsHandler {
  /** A client's link; its handler must be set before the turn ends. */
  handleLink(link: MessageLink): void;
  /** That relay sees this exit under that IP address; only the relay says so. */
  handleSeen(address: string, relay: string): void;
  /** Clients can come: for the first time, or after `handleLost`. */
  handleRegistered(relay: string): void;
  /** The relay has room for `keys` of the `of` announced keys at the moment: the others are refused. */
  handleTaken(keys: number, of: number, relay: string): void;
  /** No registration stands, and an attempt failed, or the last one was lost. The next attempt is in `waitMs`. */
  handleLost(error: WstunError, waitMs: number): void;
  /** Another registration stands, and this one has changed: it stands, was lost, cannot be made, or is not needed. */
  handleChange(place: RelayPlace): void;
}

export interface RegistrationsOptions {
  /** Of an invite: 1 to 8 URLs, best first. */
  readonly relays: readonly string[];
  /** Of one relay. */
  readonly dialerOf: (relay: string) => Pick<TicketDialer, 'dial' | 'rotationProofOf'>;
  /** Of one relay. Default: directly. */
  readonly routesOf?: ((relay: string) => RelayRoutes) | undefined;
  readonly handler: RegistrationsHandler;
  readonly logger: Logger;
  /** Gives up when each relay has failed once or, after one registration stood, when none has for LASTING_MS. */
  readonly once?: boolean | undefined;
  /** Counts attempts that failed and registrations that were lost, by the names of faults. */
  readonly failures?: Tally | undefined;
  readonly clock?: Clock | undefined;
}

/** What is known of one registration. */
interface State {
  /** Its position in the invite. */
  readonly at: number;
  readonly relay: string;
  registeredAt?: number | undefined;
  error?: WstunError | undefined;
  /** `handleChange` has told of the failures that go on. */
  isTold: boolean;
  /** When the next attempt begins, by the clock, ms; infinite: there is none. */
  nextAt: number;
  /** Whose link is kept at the same relay. */
  sameAs?: State | undefined;
}

interface Member {
  readonly state: State;
  readonly registration: ExitRegistration;
}

export class ExitRegistrations {
  private readonly clock: Clock;
  private readonly names: RelayNames;
  private readonly members: readonly Member[];
  /** Nothing has stood yet, or `handleLost` was called since. */
  private isOut = true;
  private hasStood = false;
  private failingSince: number | undefined;
  /** Why it has given up. */
  private final: WstunError | undefined;
  private doubleCheck: Timer | undefined;

  constructor(private readonly options: RegistrationsOptions) {
    const { relays, handler, logger, clock = systemClock } = options;
    this.clock = clock;
    this.names = new RelayNames(relays.length);
    const answers = new CallAnswers({ onLink: (link) => handler.handleLink(link), logger, clock });
    const parts = { answers, others: new OtherRelays(relays) };
    this.members = relays.map((relay, at) => this.createMember({ at, relay, isTold: false, nextAt: 0 }, parts));
  }

  /** In the order of the invite. */
  get places(): readonly RelayPlace[] {
    return this.members.map(({ state }) => describe(state));
  }

  /** Whose links may come, from now on. @param keys gate keys, base64url */
  setPeers(keys: readonly string[]): void {
    for (const { registration } of this.members) registration.setPeers(keys);
  }

  /** Stays registered until `close`. Rejects with a WstunError where no relay is left to try, or `once` gives up. */
  async run(): Promise<void> {
    await Promise.all(this.members.map((member) => this.runOne(member)));
    if (this.final !== undefined) throw this.final;
  }

  /** Answers no more requests; links that were handed out go on. */
  close(): void {
    this.clock.clearTimeout(this.doubleCheck);
    for (const { registration } of this.members) registration.close();
  }

  /** The network has changed, or the user asks: all control links are replaced at once. */
  reconnectNow(): void {
    for (const { registration } of this.members) registration.reconnectNow();
  }

  private createMember(state: State, parts: Pick<RegistrationOptions, 'answers' | 'others'>): Member {
    const { dialerOf, routesOf, relays } = this.options;
    const { relay } = state;
    const registration = new ExitRegistration({
      ...{ relay, ...parts, clock: this.clock },
      dialer: dialerOf(relay),
      handler: this.createHandler(state),
      ...(relays.length > 1 && { holderOf: (lostAt: number) => this.holderOf(state, lostAt) }),
      ...(routesOf && { routes: routesOf(relay) }),
    });
    return { state, registration };
  }

  private createHandler(state: State): RegistrationHandler {
    const { at, relay } = state;
    const { handler } = this.options;
    return {
      handleUp: () => this.names.handleUp(at, this.clock.now()),
      handleDown: (hadPlace) => this.handleDown(state, hadPlace),
      handleInstance: (id) => {
        this.names.handleInstance(at, id);
        this.watchDoubles();
      },
      handleRegistered: () => {
        this.handleStanding(state);
        if (!this.isOut) return handler.handleChange(describe(state));
        this.isOut = false;
        handler.handleRegistered(relay);
      },
      handleTaken: (keys, of) => {
        this.handleStanding(state);
        handler.handleTaken(keys, of, relay);
      },
      handleSeen: (address) => handler.handleSeen(address, relay),
      handleLost: (error, waitMs) => this.handleFailure(state, error, this.clock.now() + waitMs),
    };
  }

  private async runOne({ state, registration }: Member): Promise<void> {
    try {
      await registration.run();
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      this.handleFailure(state, error, Number.POSITIVE_INFINITY);
    }
  }

  private get isStanding(): boolean {
    return this.members.some(({ state }) => state.registeredAt !== undefined);
  }

  private handleStanding(state: State): void {
    this.names.handleRegistered(state.at);
    this.hasStood = true;
    this.failingSince = undefined;
    state.registeredAt ??= this.clock.now();
    state.error = undefined;
    state.sameAs = undefined;
    state.isTold = false;
  }

  /** Its control link has ended. Those that are not needed while it stands look whether that has changed. */
  private handleDown(state: State, hadPlace: boolean): void {
    this.names.handleDown(state.at, this.clock.now(), hadPlace);
    state.registeredAt = undefined;
    for (const other of this.members) if (other.state.sameAs === state) other.registration.retryNow();
  }

  private handleFailure(state: State, error: WstunError, nextAt: number): void {
    const { handler, failures } = this.options;
    failures?.note(error.fault);
    Object.assign(state, { error, nextAt, sameAs: undefined });
    if (this.isStanding) return this.tellFailure(state);
    if (this.members.every((member) => member.state.nextAt === Number.POSITIVE_INFINITY) || this.givesUp()) {
      this.final = error;
      return this.close();
    }
    this.isOut = true;
    handler.handleLost(error, this.nextAttemptMs());
  }

  /** That its link was lost is told, and one failure after that. */
  private tellFailure(state: State): void {
    const isLoss = state.error?.fault === 'link-lost';
    if (!state.isTold || state.nextAt === Number.POSITIVE_INFINITY) this.options.handler.handleChange(describe(state));
    state.isTold = !isLoss;
  }

  private givesUp(): boolean {
    if (this.options.once !== true) return false;
    if (!this.hasStood) return this.members.every(({ state }) => state.error !== undefined);
    this.failingSince ??= this.clock.now();
    return this.clock.now() - this.failingSince >= LASTING_MS;
  }

  /** Of whichever relay comes first. One that is being dialled has begun with it. */
  private nextAttemptMs(): number {
    const first = Math.min(...this.members.map(({ state }) => state.nextAt));
    return Math.max(0, first - this.clock.now());
  }

  private holderOf(state: State, lostAt: number): PlaceHolder {
    const holder = this.names.holderInstead(state.at, lostAt);
    if (typeof holder === 'string') return holder;
    if (holder === state.at) return 'this';
    Object.assign(state, { error: undefined, sameAs: this.members[holder]?.state });
    this.options.handler.handleChange(describe(state));
    return 'another';
  }

  private watchDoubles(): void {
    if (this.doubleCheck !== undefined || this.names.doubles.length === 0) return;
    this.doubleCheck = this.clock.setTimeout(() => {
      this.doubleCheck = undefined;
      for (const at of this.names.doubles) this.members[at]?.registration.leave();
    }, DOUBLE_MS);
    this.doubleCheck.unref();
  }
}

function describe({ relay, registeredAt, error, sameAs }: State): RelayPlace {
  return { relay, registeredAt, error, sameAs: sameAs?.relay };
}
