/** Checks every few seconds whether the network may have changed: a client need not wait for a timeout. */
import { closeSync, openSync, readSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import {
  classifyChange,
  describeAddresses,
  describeRoutes,
  type NetworkChange,
  type NetworkSnapshot,
} from './network-change.ts';

/** A check costs 0.1 ms. Sooner would seldom help: a new network takes seconds to give out its addresses. */
const INTERVAL_MS = 3_000;
/** A thousand routes. A router with the full table of the internet has 100 MB: there only the head is compared. */
const MAX_ROUTE_BYTES = 64 * 1024;

export interface NetworkSources {
  /** Undefined, or an exception: unknown. */
  readonly addresses: () => string | undefined;
  readonly routes: () => string | undefined;
}

export interface NetworkWatchOptions {
  /** At most once a check. */
  readonly onChange: (change: NetworkChange) => void;
  readonly intervalMs?: number;
  /** Instead of this machine's. */
  readonly sources?: Partial<NetworkSources>;
  readonly clock?: Clock;
}

const MACHINE: NetworkSources = {
  addresses: () => describeAddresses(networkInterfaces()),
  routes: readRoutes,
};

/** Does not keep the process alive. */
export function watchNetwork(options: NetworkWatchOptions): { stop(): void } {
  const { onChange, intervalMs = INTERVAL_MS, clock = systemClock } = options;
  const sources = { ...MACHINE, ...options.sources };
  let before = takeSnapshot(sources, clock);
  const check = (): void => {
    timer = begin();
    const now = takeSnapshot(sources, clock);
    const change = classifyChange(before, now, intervalMs);
    // Where something cannot be listed at the moment, the next check compares with the last list.
    before = { ...now, addresses: now.addresses ?? before.addresses, routes: now.routes ?? before.routes };
    if (change !== undefined) onChange(change);
  };
  const begin = (): Timer => {
    const begun = clock.setTimeout(check, intervalMs);
    begun.unref();
    return begun;
  };
  let timer = begin();
  return { stop: () => clock.clearTimeout(timer) };
}

function takeSnapshot({ addresses, routes }: NetworkSources, clock: Clock): NetworkSnapshot {
  return { wallMs: clock.wallTime(), monotonicMs: clock.now(), addresses: known(addresses), routes: known(routes) };
}

/** Sandboxes hide interfaces; the process goes on without them. */
function known(source: () => string | undefined): string | undefined {
  try {
    return source();
  } catch {
    return undefined;
  }
}

/** Undefined where there is no such list: not Linux, or no /proc. */
export function readRoutes(): string | undefined {
  const [route, ipv6Route] = [readHead('/proc/net/route'), readHead('/proc/net/ipv6_route')];
  return route === undefined && ipv6Route === undefined ? undefined : describeRoutes(route ?? '', ipv6Route ?? '');
}

/** Synchronous: it comes from memory, and a check must not overtake another. */
export function readHead(path: string): string | undefined {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    const head = Buffer.allocUnsafe(MAX_ROUTE_BYTES);
    let length = 0;
    // The kernel hands out a few kilobytes a read.
    for (let got = 1; got > 0 && length < head.length; length += got)
      got = readSync(file, head, length, head.length - length, null);
    return head.toString('latin1', 0, length);
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
