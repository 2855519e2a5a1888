/**
 * The routes to the relays of an invite: which there are, which one a dial begins with, and what was learnt of them. It
 * knows neither tickets nor keys: its caller makes each attempt, and says which links carry something.
 */
import { type Clock, systemClock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { BoundedMap } from '../../limits/bounded-map.ts';
import { placeOfUrl, type Reach } from '../../transport/connection/reach.ts';
import type { Via } from '../../transport/connection/via.ts';
import { DialError, type Obstacle } from '../../transport/dial-obstacle.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { LocalProxy } from '../../transport/proxy/local-proxy.ts';
import type { ProxyChooser } from '../../transport/proxy/proxy-choice.ts';
import { obstacleOf } from '../routes/obstacles.ts';
import type { FailedRelay } from '../routes/relay-faults.ts';
import {
  type CarrierChoice,
  type CarrierName,
  inOrder,
  isCheaper,
  keyOf,
  type Route,
  routesBy,
} from '../routes/route.ts';
import type { FailedRoute } from '../routes/route-faults.ts';
import { RouteMemory } from '../routes/route-memory.ts';
import type { FirstRoute, RouteRaceOptions } from '../routes/route-race.ts';
import { CARRIERS } from './carriers.ts';
import {
  type Attempt,
  type AttemptOptions,
  type AttemptState,
  REPORT_MS,
  RouteDial,
  type WonRoute,
} from './route-dial.ts';

/** What happened on the way to a relay. */
export type RouteNotice =
  /** Links go by another relay than before; until the first one, that is the first of the invite. */
  | { readonly type: 'relay'; readonly relay: string; readonly failed: readonly FailedRelay[] }
  /**
   * Links go by another route than before; until the first one, that is a WebSocket without a proxy. Or a proxy of the
   * environment has failed, and links go by none.
   */
  | {
      readonly type: 'route';
      readonly relay: string;
      readonly route: Route;
      readonly failed: readonly FailedRoute[];
      /** Attempts that had begun before it, and had no outcome yet. */
      readonly unfinished: readonly AttemptState[];
    }
  /** A dial has had no outcome for `forMs`. No attempt: it is not known yet which proxies a PAC file names. */
  | {
      readonly type: 'trying';
      readonly relay: string;
      readonly forMs: number;
      readonly attempts: readonly AttemptState[];
    };

export interface RelayRoutesOptions {
  /** Default: only directly. */
  readonly proxies?: ProxyChooser | undefined;
  /** As of the dials. */
  readonly reach?: Reach | undefined;
  readonly transport?: CarrierChoice | undefined;
  /** Default: what is remembered ends with this object. */
  readonly memory?: RouteMemory | undefined;
  readonly onNotice?: ((notice: RouteNotice) => void) | undefined;
  /**
   * Finds the page to which this network leads who asks for the relay: a login may be required. Called where something
   * other than the relay may have answered, and nothing has carried here for this process.
   */
  readonly findLoginPage?: ((relay: string, signal: AbortSignal) => Promise<WstunError | undefined>) | undefined;
  readonly clock?: Clock | undefined;
}

/** A link, and what its owner is to say of it. */
export interface RoutedLink<L extends MessageLink> {
  readonly link: L;
  readonly route: Route;
  /** Something has come through it. */
  noteCarried(): void;
  /** Nothing came through it: its route only seems to work. */
  noteSilent(): void;
  /** It carried something, and was lost. @param hasLasted not at once */
  noteLost(hasLasted: boolean): void;
}

export interface BestCarrier {
  readonly carrier: CarrierName;
  /** Undefined: directly. */
  readonly paths: readonly (Via | undefined)[];
}

/** What a race is for. */
interface RaceUse {
  readonly first?: FirstRoute | undefined;
  /** There may be no link without it: others stand beside one that works. */
  readonly isMain?: boolean;
  /** It is one of several relays, whose caller explains what all have met. */
  readonly among?: Among | undefined;
}

/** Of a dial that is one of several, each to another relay. */
export interface Among {
  /** Asked when it takes long: whether it may be reported, for all of them. */
  mayReport(): boolean;
}

/** A search for a page to log in counts for so long, ms: a relay is not to be asked at each failed dial. */
const LOOK_AGAIN_MS = 60_000;
/** Relays of which something is known. An invite has at most 8, but an exit may tell of others again and again. */
const MAX_RELAYS = 64;

/** What something else than the relay may have answered. */
const NOT_THE_RELAY: ReadonlySet<Obstacle> = new Set([
  'answer',
  'not-tls',
  'untrusted',
  'cut',
  'silent',
  'unreachable',
]);

export class RelayRoutes {
  private readonly carriers: readonly CarrierName[];
  private readonly memory: RouteMemory;
  private readonly clock: Clock;
  private readonly localProxy: LocalProxy;
  /** What the searches for a page to log in have found, by relay. */
  private readonly loginPages = new BoundedMap<string, { readonly at: number; readonly fault: WstunError | undefined }>(
    MAX_RELAYS,
  );
  /** By which the latest link goes that has carried something. */
  private current = keyOf({ carrier: 'websocket' });
  /** Proxies that failed before it, of which a notice has told. */
  private readonly told = new Set<string>();
  /** What the routes met at the latest dial of each relay, by keys. */
  private readonly before = new BoundedMap<string, ReadonlyMap<string, Obstacle>>(MAX_RELAYS);

  constructor(private readonly options: RelayRoutesOptions = {}) {
    const { transport = 'auto', clock = systemClock } = options;
    this.clock = clock;
    this.localProxy = new LocalProxy(clock);
    this.carriers = transport === 'auto' ? CARRIERS.map(({ name }) => name) : [transport];
    this.memory = options.memory ?? new RouteMemory({ network: () => undefined, clock });
  }

  /** One dial by the routes that may work, the one that has carried before first. @throws WstunError */
  async dial<L extends MessageLink>(
    relay: string,
    attempt: Attempt<L>,
    signal: AbortSignal,
    among?: Among,
  ): Promise<RoutedLink<L>> {
    const all = await this.reported(relay, this.routesTo(relay), among);
    const carried = this.memory.carried(this.remembered(relay), all);
    const routes = inOrder(all, carried && keyOf(carried.route), this.memory.silentRoutes(this.remembered(relay)));
    return this.race(relay, routes, attempt, signal, { first: carried?.first, isMain: true, among });
  }

  /** Of these relays, the one that has carried last in this network. */
  lastOf(relays: readonly string[]): string | undefined {
    const byName = new Map(relays.map((relay) => [this.remembered(relay), relay]));
    const last = this.memory.lastOf([...byName.keys()]);
    return last && byName.get(last);
  }

  /** How long a link to the relay takes in this network; undefined where nothing is known. */
  usualTimeOf(relay: string): FirstRoute | undefined {
    return this.memory.usualTimeOf(this.remembered(relay));
  }

  notify(notice: RouteNotice): void {
    this.options.onNotice?.(notice);
  }

  /** What could be found out about the failure of a whole dial, whose `relay` says most. */
  async explained(relay: string, error: WstunError, signal: AbortSignal): Promise<unknown> {
    const routes = await this.routesTo(relay);
    const first = this.memory.carried(this.remembered(relay), routes)?.first;
    return await this.explain(relay, error, { routes, first }, signal);
  }

  /** One dial by the route of the latest link, for one more beside it. @throws WstunError */
  async dialAlike<L extends MessageLink>(
    relay: string,
    attempt: Attempt<L>,
    signal: AbortSignal,
  ): Promise<RoutedLink<L>> {
    const all = await this.routesTo(relay);
    const route =
      this.memory.carried(this.remembered(relay), all)?.route ??
      all.find((each) => keyOf(each) === this.current) ??
      all[0];
    return this.race(relay, route === undefined ? [] : [route], attempt, signal);
  }

  /** One dial by carriers that cost less. @throws WstunError */
  async dialCheaper<L extends MessageLink>(
    relay: string,
    than: CarrierName,
    attempt: Attempt<L>,
    signal: AbortSignal,
  ): Promise<RoutedLink<L>> {
    const all = await this.routesTo(relay);
    const cheaper = all.filter(({ carrier }) => isCheaper(carrier, than));
    return this.race(relay, cheaper, attempt, signal);
  }

  /** Whether there are any. */
  hasCheaper(than: CarrierName): boolean {
    return this.carriers.some((carrier) => isCheaper(carrier, than));
  }

  /** What carries links to that relay best, as far as it is known, and the proxies to try. */
  async bestCarrier(relay: string): Promise<BestCarrier> {
    const all = await this.routesTo(relay);
    const carrier = this.memory.carried(this.remembered(relay), all)?.route.carrier ?? all[0]?.carrier ?? 'websocket';
    return { carrier, paths: all.filter((route) => route.carrier === carrier).map(({ proxy }) => proxy) };
  }

  /** What one carrier alone has done, because the user chose it, says nothing of where all of them may be tried. */
  private remembered(relay: string): string {
    const { transport = 'auto' } = this.options;
    return transport === 'auto' ? relay : `${transport} ${relay}`;
  }

  /** Nobody is to wait without a word for a PAC file that does not come. */
  private async reported<T>(relay: string, routes: Promise<T>, among: Among | undefined): Promise<T> {
    const report = () => {
      if (among?.mayReport() !== false) this.notify({ type: 'trying', relay, forMs: REPORT_MS, attempts: [] });
    };
    const timer = this.clock.setTimeout(report, REPORT_MS);
    try {
      return await routes;
    } finally {
      this.clock.clearTimeout(timer);
    }
  }

  private async routesTo(relay: string): Promise<readonly Route[]> {
    const { proxies, transport } = this.options;
    const paths = proxies === undefined ? [undefined] : await proxies.proxiesFor(new URL(relay));
    const mayHttp = transport === 'http' || !this.memory.knowsNoHttp(relay);
    return routesBy(
      this.carriers.filter((carrier) => carrier !== 'http' || mayHttp),
      paths,
    );
  }

  private async race<L extends MessageLink>(
    relay: string,
    routes: readonly Route[],
    attempt: Attempt<L>,
    signal: AbortSignal,
    { first, isMain = false, among }: RaceUse = {},
  ): Promise<RoutedLink<L>> {
    const before = this.before.get(relay);
    const dial = new RouteDial<L>(
      {
        ...{ routes, first, clock: this.clock },
        ...(before !== undefined && { before }),
        attempt: (route, options) =>
          this.attemptOnce(relay, attempt(route, { ...options, ...this.holdingOf(relay, route) })),
        onSlow: (attempts, forMs) => {
          if (isMain && among?.mayReport() !== false) this.notify({ type: 'trying', relay, forMs, attempts });
        },
        onOver: (obstacles) => this.before.set(relay, obstacles),
      },
      signal,
    );
    try {
      return this.routed(relay, await dial.run());
    } catch (error) {
      throw isMain && among === undefined ? await this.explain(relay, error, { routes, first }, signal) : error;
    }
  }

  private holdingOf(relay: string, route: Route): Pick<AttemptOptions, 'holding'> {
    if (route.carrier !== 'http') return {};
    const { memory } = this;
    const isExpected = memory.isHolding(relay, route);
    return { holding: { isExpected, onFound: (isHeldBack) => memory.noteHolding(relay, route, isHeldBack) } };
  }

  private async attemptOnce<L>(relay: string, link: Promise<L>): Promise<L> {
    try {
      return await link;
    } catch (error) {
      if (error instanceof WstunError && error.fault === 'http-link-unknown') this.memory.noteNoHttp(relay);
      throw error;
    }
  }

  private routed<L extends MessageLink>(relay: string, won: WonRoute<L>): RoutedLink<L> {
    const { link, route, tookMs, unfinished } = won;
    return {
      ...{ link, route },
      noteCarried: () => {
        this.memory.noteCarried(this.remembered(relay), route, tookMs);
        const unknown = failedProxies(won).filter((name) => !this.told.has(name));
        if (this.current === keyOf(route) && unknown.length === 0) return;
        if (this.current !== keyOf(route)) this.told.clear();
        for (const name of unknown) this.told.add(name);
        this.current = keyOf(route);
        this.notify({ type: 'route', relay, route, failed: won.failed.map(withoutKeys), unfinished });
      },
      noteSilent: () => this.memory.noteSilent(this.remembered(relay), route),
      noteLost: (hasLasted) => this.memory.noteLost(this.remembered(relay), route, hasLasted),
    };
  }

  /** What was found lately, or is found now. */
  private async loginPage(relay: string, signal: AbortSignal): Promise<WstunError | undefined> {
    const now = this.clock.now();
    const before = this.loginPages.get(relay);
    if (before !== undefined && now - before.at < LOOK_AGAIN_MS) return before.fault;
    const fault = await this.options.findLoginPage?.(relay, signal);
    this.loginPages.set(relay, { at: now, fault });
    return fault;
  }

  /** The error, and what else could be found out about it. */
  private async explain(
    relay: string,
    error: unknown,
    { routes, first }: Pick<RouteRaceOptions, 'routes' | 'first'>,
    signal: AbortSignal,
  ): Promise<unknown> {
    if (signal.aborted || !(error instanceof WstunError)) return error;
    const { proxies, reach } = this.options;
    const mayNeedLogin = !first?.isProven && mayAskDirectly(routes, reach) && NOT_THE_RELAY.has(obstacleOf(error));
    const login = mayNeedLogin ? await this.loginPage(relay, signal) : undefined;
    if (login !== undefined || proxies === undefined || proxies.isOff === true) return login ?? error;
    return await this.localProxy.advise(error, placeOfUrl(new URL(relay), reach ?? {}), signal);
  }
}

/** Those that failed before a route without a proxy carried something, by name: few, as one environment names them. */
function failedProxies({ route, failed }: Pick<WonRoute<MessageLink>, 'route' | 'failed'>): readonly string[] {
  return route.proxy === undefined ? failed.flatMap((one) => one.route.proxy?.name ?? []) : [];
}

/** The search asks for the relay's name, in the clear: who goes through a proxy or elsewhere may want to hide it. */
function mayAskDirectly(routes: readonly Route[], reach: Reach | undefined): boolean {
  const isElsewhere = reach?.connectTo !== undefined || reach?.source !== undefined;
  return !isElsewhere && routes.some(({ proxy }) => proxy === undefined);
}

/** The route that carries has shown that the keys are right. What another one met is that its link was closed. */
function withoutKeys({ route, error }: FailedRoute): FailedRoute {
  if (error.fault !== 'handshake-failed') return { route, error };
  return { route, error: new DialError('link-lost', 'it was closed in the middle of the handshake', 'handshake') };
}
