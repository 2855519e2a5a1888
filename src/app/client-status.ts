/** A client's status, as the library and the control socket show it, from what its tunnel says. */
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { describeTarget } from '../observability/logger.ts';
import type { LinkRoute } from '../tunnel/dial/ticket-dialer.ts';
import type { OpenStream, TunnelOutage, TunnelStatus } from '../tunnel/session/client-status.ts';
import type { ClientStatus, ServicesStatus, StatusFault, StreamStatus } from './status.ts';
import type { TrafficMeter } from './traffic-meter.ts';
import { packageVersion } from './version.ts';

interface ClientFacts {
  readonly listen: HostPort;
  /** URLs, that which is tried first before the others. */
  readonly relays: readonly string[];
  readonly exitName: string | undefined;
  readonly services: ServicesStatus;
  readonly meter: TrafficMeter;
  /** Monotonic, ms. */
  readonly now: number;
}

export function clientStatus(tunnel: TunnelStatus, facts: ClientFacts): ClientStatus {
  const { route, roundTripMs, outage } = tunnel;
  return {
    role: 'client',
    version: packageVersion(),
    pid: process.pid,
    startedAt: tunnel.startedAt,
    state: tunnel.state,
    since: tunnel.since,
    listen: formatHostPort(facts.listen),
    relay: placeOf(route?.relay ?? facts.relays[0] ?? ''),
    exit: facts.exitName === undefined ? 'relay' : 'named',
    ...(route && { route: routeOf(route) }),
    links: tunnel.links,
    ...(roundTripMs && { roundTripMs: { now: tenths(roundTripMs.now), min: tenths(roundTripMs.min) } }),
    streams: tunnel.streams.map(streamOf),
    streamCount: tunnel.streamCount,
    associations: tunnel.associations,
    ...facts.services,
    traffic: facts.meter.measure(tunnel.transferred, facts.now),
    resumes: tunnel.resumes,
    streamsLost: tunnel.streamsLost,
    ...(outage && { outage: outageOf(outage) }),
  };
}

/** `host:port` of a relay's URL. */
export function placeOf(url: string): string {
  if (!URL.canParse(url)) return url;
  const { hostname, port, protocol } = new URL(url);
  return `${hostname}:${port === '' ? (protocol === 'wss:' ? 443 : 80) : port}`;
}

export function faultOf({ code, message }: StatusFault): StatusFault {
  return { code, message };
}

function routeOf({ carrier, proxy }: LinkRoute): NonNullable<ClientStatus['route']> {
  return { carrier, ...(proxy !== undefined && { proxy }) };
}

function streamOf({ target, openedAt, sent, received }: OpenStream): StreamStatus {
  const { host } = describeTarget(target);
  return { target: formatHostPort({ host, port: target.port }), openedAt, sent, received };
}

function outageOf({ error, failures, nextAttemptAt, heldUntil }: TunnelOutage): NonNullable<ClientStatus['outage']> {
  return {
    ...(error && { fault: faultOf(error) }),
    failures,
    ...(nextAttemptAt !== undefined && { nextAttemptAt }),
    ...(heldUntil !== undefined && { heldUntil }),
  };
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}
