/**
 * What is remembered of networks and relays: which route carried, how long it takes, on which one answers are held
 * back, which relay knows no HTTP link, and where each relay was reached. It names no place: networks, relays and
 * proxies are kept as keyed hashes. It touches no file: whoever has one passes in what it held, and is told of changes.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '../../clock.ts';
import { BoundedMap } from '../../limits/bounded-map.ts';
import { keyOf, type Route } from './route.ts';
import type { FirstRoute } from './route-race.ts';

/** Pairs of a network and a relay; the one that was used longest ago is forgotten. */
const MAX_ROUTES = 64;
/** Relays: an invite has at most 8. */
const MAX_RELAYS = 64;
/** A relay that knows no HTTP link is asked again after this, ms: it may have been updated. */
const NO_HTTP_MS = 24 * 3_600_000;
/** So many links by one route in a row that are lost at once are cut on it: others come first. */
const MANY_BRIEF = 3;
/** A time that differs less than by this factor is not worth a write. */
const SAME_TIME = 2;

/** What a file holds. Everything but `salt` and addresses is a hash. */
interface MemoryContent {
  readonly version: 1;
  readonly salt: string;
  /** The one that was used last comes last. */
  readonly routes: readonly (readonly [place: string, route: string, usualMs: number])[];
  /** Until when, ms since 1970. */
  readonly noHttp: readonly (readonly [relay: string, until: number])[];
  readonly addresses: readonly (readonly [relay: string, address: string])[];
  /** Where something holds answers back; missing in a file of an earlier version. */
  readonly holding?: readonly (readonly [place: string, route: string])[];
}

export interface RouteMemoryOptions {
  /** Where this machine is; undefined: unknown. */
  readonly network: () => string | undefined;
  readonly clock?: Clock | undefined;
  /** What was kept; anything else than a MemoryContent counts as nothing. */
  readonly content?: unknown;
  readonly onChange?: (content: MemoryContent) => void;
}

interface Carried {
  readonly route: string;
  readonly usualMs: number;
}

export class RouteMemory {
  private readonly clock: Clock;
  private readonly salt: string;
  private readonly routes = new BoundedMap<string, Carried>(MAX_ROUTES);
  private readonly noHttp = new BoundedMap<string, number>(MAX_RELAYS);
  private readonly addresses = new BoundedMap<string, string>(MAX_RELAYS);
  /** The route on which something holds answers back, by place. */
  private readonly holding = new BoundedMap<string, string>(MAX_ROUTES);
  /** Routes that have carried for this process, by place. */
  private readonly proven = new BoundedMap<string, string>(MAX_ROUTES);
  /** Routes that made links which carried nothing, by place. */
  private readonly silent = new BoundedMap<string, ReadonlySet<string>>(MAX_ROUTES);
  /** How many links in a row were lost at once, by place and route. */
  private readonly brief = new BoundedMap<string, number>(MAX_ROUTES);

  constructor(private readonly options: RouteMemoryOptions) {
    this.clock = options.clock ?? systemClock;
    const content = contentOf(options.content);
    this.salt = content?.salt ?? randomBytes(32).toString('base64url');
    for (const [place, route, usualMs] of content?.routes ?? []) this.routes.set(place, { route, usualMs });
    for (const [relay, until] of content?.noHttp ?? []) this.noHttp.set(relay, until);
    for (const [relay, address] of content?.addresses ?? []) this.addresses.set(relay, address);
    for (const [place, route] of content?.holding ?? []) this.holding.set(place, route);
  }

  /** Which of the routes has carried here, and how long it takes. */
  carried(relay: string, routes: readonly Route[]): { route: Route; first: FirstRoute } | undefined {
    const place = this.placeOf(relay);
    const known = this.routes.get(place);
    const route = known && routes.find((each) => this.hash('route', keyOf(each)) === known.route);
    if (known === undefined || route === undefined) return undefined;
    return { route, first: { usualMs: known.usualMs, isProven: this.proven.get(place) === keyOf(route) } };
  }

  /** How long a link to the relay takes here, by the route that has carried last. */
  usualTimeOf(relay: string): FirstRoute | undefined {
    const place = this.placeOf(relay);
    const known = this.routes.get(place);
    return known && { usualMs: known.usualMs, isProven: this.proven.has(place) };
  }

  /** Of these relays, the one that has carried last here. */
  lastOf(relays: readonly string[]): string | undefined {
    const byPlace = new Map(relays.map((relay) => [this.placeOf(relay), relay]));
    const place = [...this.routes.keys()].findLast((each) => byPlace.has(each));
    return place && byPlace.get(place);
  }

  /** A link by it has carried something. @param tookMs from the start of its attempt */
  noteCarried(relay: string, route: Route, tookMs: number): void {
    const place = this.placeOf(relay);
    const key = keyOf(route);
    const before = this.routes.get(place);
    const hashed = this.hash('route', key);
    this.proven.set(place, key);
    this.silent.delete(place);
    const isSame =
      before?.route === hashed && before.usualMs <= tookMs * SAME_TIME && tookMs <= before.usualMs * SAME_TIME;
    // The next start begins with the relay that was used last.
    const wasLast = [...this.routes.keys()].at(-1) === place;
    this.routes.set(place, isSame ? before : { route: hashed, usualMs: Math.ceil(tookMs) });
    if (!isSame || !wasLast) this.report();
  }

  /** A link by it was made, and carried nothing. */
  noteSilent(relay: string, route: Route): void {
    const place = this.placeOf(relay);
    this.silent.set(place, new Set([...(this.silent.get(place) ?? []), keyOf(route)]));
    this.proven.delete(place);
    if (this.routes.get(place)?.route === this.hash('route', keyOf(route)) && this.routes.delete(place)) this.report();
  }

  /** A link by it carried something, and was lost. @param hasLasted not at once */
  noteLost(relay: string, route: Route, hasLasted: boolean): void {
    const key = `${this.placeOf(relay)}\n${keyOf(route)}`;
    if (hasLasted) {
      this.brief.delete(key);
      return;
    }
    const inARow = (this.brief.get(key) ?? 0) + 1;
    this.brief.set(key, inARow);
    if (inARow >= MANY_BRIEF) this.noteSilent(relay, route);
  }

  /** The keys of the routes whose links have carried nothing here. */
  silentRoutes(relay: string): ReadonlySet<string> {
    return this.silent.get(this.placeOf(relay)) ?? new Set();
  }

  /** Something on this route holds answers of HTTP links back, as far as is known. */
  isHolding(relay: string, route: Route): boolean {
    return this.holding.get(this.placeOf(relay)) === this.hash('route', keyOf(route));
  }

  /** It has shown that it does, or does not. */
  noteHolding(relay: string, route: Route, isHeldBack: boolean): void {
    if (this.isHolding(relay, route) === isHeldBack) return;
    const place = this.placeOf(relay);
    if (isHeldBack) this.holding.set(place, this.hash('route', keyOf(route)));
    else this.holding.delete(place);
    this.report();
  }

  /** The relay has proved that it took the request of an HTTP link for something else. */
  noteNoHttp(relay: string): void {
    this.noHttp.set(this.hash('relay', relay), this.clock.wallTime() + NO_HTTP_MS);
    this.report();
  }

  knowsNoHttp(relay: string): boolean {
    const leftMs = (this.noHttp.get(this.hash('relay', relay)) ?? 0) - this.clock.wallTime();
    // A clock that was set back must not make it last for ever.
    return leftMs > 0 && leftMs <= NO_HTTP_MS;
  }

  /** @param place host and port of a relay */
  addressOf(place: string): string | undefined {
    return this.addresses.get(this.hash('address', place));
  }

  noteAddress(place: string, address: string): void {
    const relay = this.hash('address', place);
    if (this.addresses.get(relay) === address) return;
    this.addresses.set(relay, address);
    this.report();
  }

  private placeOf(relay: string): string {
    return this.hash('place', `${relay}\n${this.options.network() ?? ''}`);
  }

  private hash(kind: string, text: string): string {
    return createHmac('sha256', this.salt).update(`${kind}\0${text}`).digest('base64url').slice(0, 22);
  }

  private report(): void {
    this.options.onChange?.({
      version: 1,
      salt: this.salt,
      routes: [...this.routes].map(([place, { route, usualMs }]) => [place, route, usualMs]),
      noHttp: [...this.noHttp],
      addresses: [...this.addresses],
      holding: [...this.holding],
    });
  }
}

/** Undefined for anything else. */
function contentOf(content: unknown): MemoryContent | undefined {
  if (typeof content !== 'object' || content === null) return undefined;
  const { version, salt, routes, noHttp, addresses, holding = [] } = content as Readonly<Record<string, unknown>>;
  const isContent =
    version === 1 &&
    typeof salt === 'string' &&
    salt.length >= 43 &&
    isTable(routes, ['string', 'string', 'number'], MAX_ROUTES) &&
    isTable(noHttp, ['string', 'number'], MAX_RELAYS) &&
    isTable(addresses, ['string', 'string'], MAX_RELAYS) &&
    isTable(holding, ['string', 'string'], MAX_ROUTES);
  return isContent ? (content as MemoryContent) : undefined;
}

function isTable(table: unknown, columns: readonly string[], mostRows: number): boolean {
  if (!Array.isArray(table) || table.length > mostRows) return false;
  return table.every(
    (row) => Array.isArray(row) && row.length === columns.length && columns.every((type, at) => isOf(type, row[at])),
  );
}

function isOf(type: string, value: unknown): boolean {
  return type === 'number' ? Number.isFinite(value) : typeof value === type;
}
