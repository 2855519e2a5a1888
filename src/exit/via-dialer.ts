/**
 * Dials through an upstream proxy (`--via`). It gives the proxy vetted addresses and never a name, so that exactly what
 * was checked is dialled; it checks nothing itself. Of the proxy it knows only a function.
 */
import { Socket } from 'node:net';
import { withLimit } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { type FaultName, type WireFaultName, WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import { familyOf, formatIp, type IpBytes } from '../net/ip.ts';
import type { Logger } from '../observability/logger.ts';
import type { Dial } from './dialer.ts';

/** As of a dial without a proxy, ms. */
const DIAL_LIMIT_MS = 10_000;
/** Of a name, tried one after another: the proxy's own attempts may take long. */
const MAX_ADDRESSES = 3;
/** The same trouble with the proxy is logged so often, ms. */
const WARN_AGAIN_MS = 60_000;

/** What concerns the target alone, and what its program is told. All else is trouble with the proxy. */
const OF_TARGET: Readonly<Partial<Record<FaultName, WireFaultName>>> = {
  'proxy-cannot-connect': 'dial-host-unreachable',
  'proxy-forbids': 'dial-failed',
  'proxy-slow': 'dial-timed-out',
};

/** Opens a connection, half-open allowed, through the proxy. Rejects with a WstunError. */
export type ConnectVia = (target: HostPort, signal: AbortSignal) => Promise<Socket>;

/** @param name of the proxy, without credentials */
export function createViaDialer(connect: ConnectVia, name: string, logger: Logger, clock: Clock = systemClock): Dial {
  const report = createReport(name, logger, clock);
  const timedOut = () => new WstunError('dial-timed-out');
  return async (addresses, port, signal) =>
    await withLimit({ clock, signal, limitMs: DIAL_LIMIT_MS }, timedOut, async (within) => {
      let fault: WireFaultName = 'dial-failed';
      for (const ip of inOrder(addresses)) {
        const opened = await connect({ host: formatIp(ip), port }, within).catch((error: unknown) => error);
        if (opened instanceof Socket) return opened;
        fault = faultOf(opened, within, report);
      }
      throw new WstunError(fault);
    });
}

/** What the program is told if no other address works. Throws where another one would not help. */
function faultOf(error: unknown, within: AbortSignal, report: (error: WstunError) => void): WireFaultName {
  if (within.aborted) throw within.reason instanceof WstunError ? within.reason : new WstunError('dial-cancelled');
  if (!(error instanceof WstunError)) throw error;
  const ofTarget = OF_TARGET[error.fault];
  if (ofTarget !== undefined) return ofTarget;
  report(error);
  throw new WstunError('dial-failed', error.detail);
}

/** IPv4 first: nothing tells whether the proxy has IPv6. */
function inOrder(addresses: readonly IpBytes[]): readonly IpBytes[] {
  return [...addresses].sort((a, b) => familyOf(a) - familyOf(b)).slice(0, MAX_ADDRESSES);
}

/** The details may name the destination: they are only for `debug`. */
function createReport(proxy: string, logger: Logger, clock: Clock): (error: WstunError) => void {
  const last = new Map<string, number>();
  return ({ code, fault }) => {
    const now = clock.now();
    if (now - (last.get(code) ?? Number.NEGATIVE_INFINITY) < WARN_AGAIN_MS) return;
    last.set(code, now);
    logger.warn({ code, fault, proxy }, 'the proxy of --via opens no connections to targets');
  };
}
