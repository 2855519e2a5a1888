/** The relays of an invite as a choice of connectors: a race at each dial, by the routes to each. */
import type { Clock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { faultOfRelays, RotationWatch } from '../routes/relay-faults.ts';
import type { RelayList } from '../routes/relay-list.ts';
import type { LinkPurpose, SessionPlace } from './connectors.ts';
import type { ChosenLink, ConnectorChoice } from './preferred-connector.ts';
import { RelayDial, type RelayDialOptions, RelaysFailed, type WonRelay } from './relay-dial.ts';
import type { RelayRoutes } from './relay-routes.ts';
import type { RouteChoice } from './route-choice.ts';

/** A relay that says nothing, while others have failed, is given up after this, ms; twice as long at each dial more. */
const ALONE_MS = 3_000;
const LONGEST_ALONE_MS = 24_000;
/** Where each relay has an exit of its own, the one that has the session is waited for, ms: the others have it not. */
const HOME_PATIENCE_MS = 1_000;

export interface RelayChoiceOptions<L extends MessageLink> {
  readonly relays: RelayList;
  readonly routes: RelayRoutes;
  readonly byRoutes: RouteChoice<L>;
  /** All relays lead to the same exit: a session may go by any of them. */
  readonly isOneExit: boolean;
  readonly clock: Clock;
}

/** What a race is for. */
interface RaceUse {
  readonly purpose: LinkPurpose;
  /** There is a session, which only its exit has. */
  readonly isResumed: boolean;
  /** There may be no link without it: others stand beside one that works, and nobody waits for them. */
  readonly isMain: boolean;
}

export class RelayChoice<L extends MessageLink> implements ConnectorChoice<L> {
  private readonly rotation = new RotationWatch();
  /** Dials in a row at which no relay has made a link. */
  private losses = 0;
  /** Its own exit takes no session. */
  private rejecting: string | undefined;
  /** Its link was made, and brought no answer of the exit: it would win each race, and the others get no turn. */
  private silent: string | undefined;
  /** By which the latest link goes that has carried something. */
  private current: string | undefined;

  constructor(private readonly options: RelayChoiceOptions<L>) {}

  async dial(signal: AbortSignal, purpose: LinkPurpose = 'only', from?: SessionPlace): Promise<ChosenLink<L>> {
    const { byRoutes, relays } = this.options;
    const order = this.orderFor(from);
    const [first = '', ...others] = order;
    if (purpose === 'further') return await byRoutes.dialAlike(from?.relay ?? first, signal);
    if (others.length === 0) return await byRoutes.dial(first, signal, purpose);
    this.current ??= relays.own[0];
    try {
      return this.chosen(await this.race(order, signal, { purpose, isResumed: from !== undefined, isMain: true }));
    } catch (error) {
      throw error instanceof RelaysFailed ? await this.explain(error, signal) : error;
    }
  }

  /** Dials by those alone that come before it in the list; undefined where there is none. */
  betterThan(relay: string): ConnectorChoice<L> | undefined {
    const better = this.options.relays.better(relay);
    if (better.length === 0) return undefined;
    return {
      dial: async (signal, purpose = 'only') => {
        try {
          return this.chosen(await this.race(better, signal, { purpose, isResumed: false, isMain: false }));
        } catch (error) {
          throw error instanceof RelaysFailed ? faultOfRelays(error.failed, false) : error;
        }
      },
    };
  }

  /** Whether the exit can be reached by it now. */
  async answers(relay: string, signal: AbortSignal): Promise<boolean> {
    try {
      (await this.options.byRoutes.dialAlike(relay, signal)).link.abort();
      return true;
    } catch {
      return false;
    }
  }

  private orderFor(from: SessionPlace | undefined): readonly string[] {
    const { relays, routes, isOneExit } = this.options;
    const { silent } = this;
    const carried = routes.lastOf(relays.all);
    if (!isOneExit) return relays.inOrder({ carried, silent, home: from?.relay, last: this.rejecting });
    return relays.inOrder({ carried, silent, last: from?.isStalled ? from.relay : undefined });
  }

  private race(
    relays: readonly string[],
    signal: AbortSignal,
    { purpose, isResumed, isMain }: RaceUse,
  ): Promise<WonRelay<ChosenLink<L>>> {
    const { byRoutes, routes, clock, isOneExit } = this.options;
    const options: RelayDialOptions<ChosenLink<L>> = {
      ...{ relays, clock },
      usualTimeOf: (relay) => routes.usualTimeOf(relay),
      aloneMs: Math.min(ALONE_MS * 2 ** this.losses, LONGEST_ALONE_MS),
      firstPatienceMs: isResumed && !isOneExit ? HOME_PATIENCE_MS : 0,
      attempt: (relay, { signal: stop, onConnected, mayReport }) =>
        byRoutes.dial(relay, stop, purpose, { onConnected, mayReport: () => isMain && mayReport() }),
    };
    return new RelayDial(options, signal).run();
  }

  private chosen({ relay, won, failed }: WonRelay<ChosenLink<L>>): ChosenLink<L> {
    this.losses = 0;
    this.rotation.handleWorked();
    const noteCarried = (): void => {
      won.noteCarried?.();
      this.rejecting = undefined;
      this.silent = undefined;
      if (this.current === relay) return;
      this.current = relay;
      this.options.routes.notify({ type: 'relay', relay, failed });
    };
    const noteSilent = (): void => {
      won.noteSilent?.();
      this.silent = relay;
    };
    const noteRejected = (): void => {
      this.rejecting = relay;
    };
    return { ...won, noteCarried, noteSilent, noteRejected };
  }

  private async explain({ failed }: RelaysFailed, signal: AbortSignal): Promise<unknown> {
    const { clock, routes } = this.options;
    if (signal.aborted) return new WstunError('dial-cancelled');
    this.losses += 1;
    const error = faultOfRelays(failed, this.rotation.isFinal(failed, clock.now()));
    const { relay = '' } = failed.find((one) => one.error.fault === error.fault) ?? {};
    return await routes.explained(relay, error, signal);
  }
}
