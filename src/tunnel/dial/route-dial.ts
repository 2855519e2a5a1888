/** One dial: races attempts by several routes to one relay. What wins ends the others. */
import { AbortableWait } from '../../async/abortable.ts';
import type { Clock, Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { Obstacle } from '../../transport/dial-obstacle.ts';
import type { Holding } from '../../transport/http/http-client-link.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { obstacleOf } from '../routes/obstacles.ts';
import type { Route } from '../routes/route.ts';
import { type FailedRoute, faultOfAll } from '../routes/route-faults.ts';
import { RouteRace, type RouteRaceOptions } from '../routes/route-race.ts';

/** A dial that has no outcome by then is reported, ms: nobody is to wait for more than 3 s without a word. */
export const REPORT_MS = 2_000;

export interface AttemptOptions {
  /** Cancels it. */
  readonly signal: AbortSignal;
  /** To be called when TCP is connected, through the proxy if there is one. */
  readonly onConnected: () => void;
  /** To be called when a link is open on which the handshake begins. */
  readonly onOpened: () => void;
  /** Of an HTTP link: whether answers are held back on this route. */
  readonly holding?: Holding;
}

/** One attempt by one route. @throws WstunError */
export type Attempt<L extends MessageLink> = (route: Route, options: AttemptOptions) => Promise<L>;

/** How far an attempt has come. */
export interface AttemptState {
  readonly route: Route;
  readonly state: 'connecting' | 'connected' | 'opened' | 'failed';
  /** Where it has failed. */
  readonly error?: WstunError;
}

export interface WonRoute<L extends MessageLink> {
  readonly link: L;
  readonly route: Route;
  /** From the start of its attempt, ms. */
  readonly tookMs: number;
  /** Those that had failed before. */
  readonly failed: readonly FailedRoute[];
  /** Those that had begun before it, and had no outcome yet. */
  readonly unfinished: readonly AttemptState[];
}

export interface RouteDialOptions<L extends MessageLink> extends RouteRaceOptions {
  readonly attempt: Attempt<L>;
  readonly clock: Clock;
  /** The dial has been under way for so long, ms. */
  onSlow(attempts: readonly AttemptState[], forMs: number): void;
  /** What the routes have met, as soon as it is over. */
  onOver(obstacles: ReadonlyMap<string, Obstacle>): void;
}

export class RouteDial<L extends MessageLink> {
  private readonly over = new AbortController();
  private readonly signal: AbortSignal;
  private readonly outcome: AbortableWait<WonRoute<L>>;
  private readonly race: RouteRace;
  private readonly since: number;
  private readonly attempts = new Map<Route, AttemptState>();
  private readonly failed: FailedRoute[] = [];
  private next: Timer | undefined;
  private report: Timer | undefined;

  constructor(
    private readonly options: RouteDialOptions<L>,
    signal: AbortSignal,
  ) {
    const { clock } = options;
    this.signal = AbortSignal.any([signal, this.over.signal]);
    this.race = new RouteRace(options);
    this.since = clock.now();
    this.outcome = new AbortableWait({ clock, signal, onSettled: () => this.end() });
  }

  /** Rejects with one WstunError for all routes, or `dial-cancelled`. */
  run(): Promise<WonRoute<L>> {
    if (this.outcome.isOver) return this.outcome.promise;
    const { clock } = this.options;
    this.report = clock.setTimeout(() => this.reportSlow(), REPORT_MS);
    this.startDue();
    return this.outcome.promise;
  }

  private end(): void {
    const { clock, onOver } = this.options;
    clock.clearTimeout(this.next);
    clock.clearTimeout(this.report);
    onOver(this.race.obstacles);
    this.over.abort();
  }

  private startDue(): void {
    const { clock } = this.options;
    clock.clearTimeout(this.next);
    while (!this.outcome.isOver) {
      const route = this.race.poll(clock.now());
      if (route === undefined) break;
      void this.start(route);
    }
    if (this.outcome.isOver) return;
    if (this.race.isLost) return this.outcome.reject(faultOfAll(this.failed));
    const at = this.race.nextTimeout();
    if (at < Number.POSITIVE_INFINITY)
      this.next = clock.setTimeout(() => this.startDue(), Math.max(0, at - clock.now()));
  }

  private async start(route: Route): Promise<void> {
    const { attempt, clock } = this.options;
    const since = clock.now();
    this.attempts.set(route, { route, state: 'connecting' });
    const onConnected = (): void => this.handleConnected(route);
    const onOpened = (): void => this.handleOpened(route);
    try {
      const link = await attempt(route, { signal: this.signal, onConnected, onOpened });
      // Two may come in one turn, or one although its signal has fired.
      if (this.outcome.isOver) return link.abort();
      const unfinished = this.unfinishedBefore(route);
      this.outcome.resolve({ link, route, tookMs: clock.now() - since, failed: this.failed, unfinished });
    } catch (cause) {
      this.handleFailed(route, cause instanceof WstunError ? cause : new WstunError('internal', String(cause)));
    }
  }

  private handleConnected(route: Route): void {
    if (this.outcome.isOver) return;
    this.attempts.set(route, { route, state: 'connected' });
    this.race.handleConnected(route, this.options.clock.now());
    this.startDue();
  }

  private handleOpened(route: Route): void {
    if (!this.outcome.isOver) this.attempts.set(route, { route, state: 'opened' });
  }

  private unfinishedBefore(route: Route): readonly AttemptState[] {
    const started = [...this.attempts.keys()];
    const before = started.slice(0, started.indexOf(route));
    return before.flatMap((one) => this.attempts.get(one) ?? []).filter(({ state }) => state !== 'failed');
  }

  private handleFailed(route: Route, error: WstunError): void {
    if (this.outcome.isOver) return;
    this.attempts.set(route, { route, state: 'failed', error });
    this.failed.push({ route, error });
    this.race.handleFailed(route, obstacleOf(error));
    this.startDue();
  }

  private reportSlow(): void {
    this.options.onSlow([...this.attempts.values()], this.options.clock.now() - this.since);
  }
}
