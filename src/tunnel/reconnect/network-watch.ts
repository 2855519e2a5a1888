/**
 * Looks every few seconds whether the network beneath may have changed, so that a client need not wait for a timeout to
 * learn that its link is dead. Only looks and tells: what is a change is network-change.ts, what to do about it is the
 * caller's.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import {
  classifyChange,
  describeAddresses,
  describeRoutes,
  type NetworkChange,
  type NetworkLook,
} from './network-change.ts';

/** A look costs 0.1 ms. Sooner would seldom help: a new network takes seconds to give out its addresses. */
const INTERVAL_MS = 3_000;
/** A thousand routes. A machine that knows the whole internet has 100 MB of them: there only the head is looked at. */
const MAX_ROUTE_BYTES = 64 * 1024;

export interface NetworkSources {
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  /** Undefined, or a throw: not known. */
  readonly addresses: () => string | undefined;
  readonly routes: () => string | undefined;
}

export interface NetworkWatchOptions {
  /** At most once a look. */
  readonly onChange: (change: NetworkChange) => void;
  readonly intervalMs?: number;
  /** Instead of this machine's. */
  readonly sources?: Partial<NetworkSources>;
}

const MACHINE: NetworkSources = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  addresses: () => describeAddresses(networkInterfaces()),
  routes: readRoutes,
};

/** Does not keep the process alive. */
export function watchNetwork(options: NetworkWatchOptions): { stop(): void } {
  const { onChange, intervalMs = INTERVAL_MS } = options;
  const sources = { ...MACHINE, ...options.sources };
  let before = look(sources);
  const timer = setInterval(() => {
    const now = look(sources);
    const change = classifyChange(before, now, intervalMs);
    // What cannot be listed just now is compared with what it was when it last could.
    before = { ...now, addresses: now.addresses ?? before.addresses, routes: now.routes ?? before.routes };
    if (change !== undefined) onChange(change);
  }, intervalMs).unref();
  return { stop: () => clearInterval(timer) };
}

function look({ wallMs, monotonicMs, addresses, routes }: NetworkSources): NetworkLook {
  return { wallMs: wallMs(), monotonicMs: monotonicMs(), addresses: known(addresses), routes: known(routes) };
}

/** Sandboxes hide interfaces; that is no reason to end. */
function known(source: () => string | undefined): string | undefined {
  try {
    return source();
  } catch {
    return undefined;
  }
}

/** Undefined where there is no such list: not Linux, or no /proc. */
function readRoutes(): string | undefined {
  const [route, ipv6Route] = [readHead('/proc/net/route'), readHead('/proc/net/ipv6_route')];
  return route === undefined && ipv6Route === undefined ? undefined : describeRoutes(route ?? '', ipv6Route ?? '');
}

/** At once rather than in the thread pool: it comes from memory, and a look must not overtake another. */
function readHead(path: string): string | undefined {
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
