/** What a route to a relay is, and in which order routes are tried. Pure. */

import type { Via } from '../../transport/connection/via.ts';

/** What carries a link, the cheapest first. */
const CARRIER_NAMES = ['websocket', 'http'] as const;
export type CarrierName = (typeof CARRIER_NAMES)[number];

/** What `--transport` allows. */
export type CarrierChoice = 'auto' | CarrierName;

/** How a link is made: a carrier, directly or through a proxy. */
export interface Route {
  readonly carrier: CarrierName;
  /** Undefined: directly. */
  readonly proxy?: Via | undefined;
}

/** A PAC file can list more. Each is an attempt of a race. */
const MAX_PATHS = 6;

const CARRIER_TEXTS: Readonly<Record<CarrierName, string>> = { websocket: 'WebSocket', http: 'HTTP link' };

/** The same for routes that differ in nothing. */
export function keyOf({ carrier, proxy }: Route): string {
  return proxy === undefined ? carrier : `${carrier} ${proxy.name}`;
}

/**
 * `directly by WebSocket`, `through proxy http://10.0.0.1:3128 by HTTP link`.
 * @param beside those that are told together: where no proxy is among them, nothing is said of the path
 */
export function describeRoute({ carrier, proxy }: Route, beside?: readonly Route[]): string {
  const by = `by ${CARRIER_TEXTS[carrier]}`;
  if (proxy !== undefined) return `through proxy ${proxy.name} ${by}`;
  return beside?.every((other) => other.proxy === undefined) ? by : `directly ${by}`;
}

export function isSamePath(one: Route, other: Route): boolean {
  return one.proxy?.name === other.proxy?.name;
}

/** Whether a carrier costs less than another one: fewer bytes and requests for the same data. */
export function isCheaper(one: CarrierName, other: CarrierName): boolean {
  return CARRIER_NAMES.indexOf(one) < CARRIER_NAMES.indexOf(other);
}

/**
 * All routes, the first to try first: each path with the cheapest carrier, then each with the next one.
 * @param paths in their own order; undefined: directly
 */
export function routesBy(carriers: readonly CarrierName[], paths: readonly (Via | undefined)[]): readonly Route[] {
  const few = paths.slice(0, MAX_PATHS);
  return carriers.flatMap((carrier) => few.map((proxy) => ({ carrier, proxy })));
}

/** What was remembered comes first, and what brought nothing last. */
export function inOrder(
  routes: readonly Route[],
  first: string | undefined,
  last: ReadonlySet<string>,
): readonly Route[] {
  const rank = (route: Route): number => (keyOf(route) === first ? -1 : last.has(keyOf(route)) ? 1 : 0);
  return routes.toSorted((a, b) => rank(a) - rank(b));
}
