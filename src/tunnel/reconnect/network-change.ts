/** Decides from two snapshots of the machine whether the network may have changed. Pure. A false alarm is cheap. */
import type { NetworkInterfaceInfo } from 'node:os';

/** `slept`: this process did not run for a while, or the clock was set forward. */
export type NetworkChange = 'slept' | 'addresses' | 'route';

export interface NetworkSnapshot {
  /** Since the epoch, ms. Goes on while the machine sleeps. */
  readonly wallMs: number;
  /** Ms. Stops while the machine sleeps on some systems, goes on on others. */
  readonly monotonicMs: number;
  /** `describeAddresses`; undefined where they cannot be listed. */
  readonly addresses: string | undefined;
  /** `describeRoutes`; undefined where they cannot be listed. */
  readonly routes: string | undefined;
}

/** Connections survive shorter gaps; a busy event loop and a corrected clock stay below. */
const SLEPT_MS = 5_000;

/** What happened between two snapshots that were to be `intervalMs` apart; of several, the most specific. */
export function classifyChange(
  before: NetworkSnapshot,
  now: NetworkSnapshot,
  intervalMs: number,
): NetworkChange | undefined {
  const ranMs = now.monotonicMs - before.monotonicMs;
  const jumpMs = now.wallMs - before.wallMs - ranMs;
  if (jumpMs > SLEPT_MS || ranMs > intervalMs + SLEPT_MS) return 'slept';
  if (differ(before.addresses, now.addresses)) return 'addresses';
  if (differ(before.routes, now.routes)) return 'route';
  return undefined;
}

function differ(before: string | undefined, now: string | undefined): boolean {
  return before !== undefined && now !== undefined && before !== now;
}

/** Interfaces and addresses in one order, without loopback and link-local, which change with every container. */
export function describeAddresses(interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>): string {
  const lines = Object.entries(interfaces).flatMap(([name, infos = []]) =>
    infos.flatMap(({ internal, address }) => (internal || isLinkLocal(address) ? [] : [`${name} ${address}`])),
  );
  return inOrder(lines);
}

function inOrder(lines: readonly string[]): string {
  return lines.toSorted((a, b) => (a < b ? -1 : 1)).join('\n');
}

/** 169.254.0.0/16, fe80::/10 */
function isLinkLocal(address: string): boolean {
  return address.startsWith('169.254.') || /^fe[89ab]/i.test(address);
}

/** The default routes, as one text in one order, of Linux's /proc/net/route and /proc/net/ipv6_route. */
export function describeRoutes(route: string, ipv6Route: string): string {
  const lines = [...route.split('\n').flatMap(defaultRoute), ...ipv6Route.split('\n').flatMap(defaultIpv6Route)];
  return inOrder(lines);
}

/** Iface Destination Gateway Flags RefCnt Use Metric Mask …: without the counters. */
function defaultRoute(line: string): string[] {
  const [name, destination, gateway, , , , metric, mask] = line.trim().split(/\s+/);
  return destination === '00000000' && mask === '00000000' ? [`${name} ${gateway} ${metric}`] : [];
}

/** Destination, length, source, length, next hop, metric, …, name. The route on `lo` is the one that rejects. */
function defaultIpv6Route(line: string): string[] {
  const [destination, length, , , gateway, metric, , , , name] = line.trim().split(/\s+/);
  const isDefault = /^0{32}$/.test(destination ?? '') && length === '00';
  return isDefault && name !== 'lo' ? [`${name} ${gateway} ${metric}`] : [];
}
