/** What a client's sessions are at the moment: read from them when it is asked for. Times are ms since 1970. */
import { type Clock, wallTimeAt } from '../../clock.ts';
import type { WstunError } from '../../errors.ts';
import type { SessionDialer } from '../dial/session-dialer.ts';
import type { LinkRoute } from '../dial/ticket-dialer.ts';
import type { Target } from '../stream/stream.ts';
import type { ClientHistory } from './client-history.ts';
import type { RoundTrip } from './link-facts.ts';
import type { Transferred } from './open-streams.ts';
import type { ReconnectingSession } from './reconnecting-session.ts';

/** More are only counted. */
const MAX_STREAMS = 1_000;

export type TunnelState = 'connecting' | 'connected' | 'link-lost' | 'disconnected' | 'closing';

export interface OpenStream extends Transferred {
  readonly target: Target;
  readonly openedAt: number;
}

export interface TunnelOutage {
  readonly error: WstunError | undefined;
  readonly failures: number;
  /** Undefined while an attempt is under way. */
  readonly nextAttemptAt: number | undefined;
  /** Undefined where there is no session that could be resumed. */
  readonly heldUntil: number | undefined;
}

export interface TunnelStatus {
  readonly state: TunnelState;
  readonly since: number;
  readonly startedAt: number;
  /** Of the oldest link. */
  readonly route: LinkRoute | undefined;
  readonly links: number;
  readonly roundTripMs: RoundTrip | undefined;
  /** The newest 1,000, the oldest of them first. */
  readonly streams: readonly OpenStream[];
  readonly streamCount: number;
  /** Those of UDP listeners among them. */
  readonly associations: number;
  readonly transferred: Transferred;
  readonly resumes: number;
  readonly streamsLost: number;
  /** Undefined while connected. */
  readonly outage: TunnelOutage | undefined;
}

/** What its metrics need beside what is counted. */
export interface TunnelReadings {
  readonly state: TunnelState;
  /** Sessions that were established and are not over, with a link and without. */
  readonly attached: number;
  readonly detached: number;
  /** Of each link. */
  readonly carriers: readonly LinkRoute['carrier'][];
  readonly streamCount: number;
  readonly associations: number;
  readonly roundTripMs: RoundTrip | undefined;
  readonly transferred: Transferred;
  readonly resumes: number;
  readonly streamsLost: number;
}

/** What a client knows. */
export interface TunnelParts {
  readonly clock: Clock;
  readonly dialer: SessionDialer;
  readonly history: ClientHistory;
  /** The older ones drain. */
  readonly sessions: ReadonlySet<ReconnectingSession>;
  readonly current: ReconnectingSession | undefined;
  readonly wasConnected: boolean;
  /** From when on there was no session, by the clock. */
  readonly lostAt: number | undefined;
}

export function tunnelStatus(parts: TunnelParts): TunnelStatus {
  const { clock, dialer, history, sessions, current } = parts;
  const { state, since } = stateOf(parts);
  const link = current?.driver.oldestLink ?? linkOfAny(sessions);
  const { resumes, streamsLost, startedAt } = history;
  return {
    ...{ state, resumes, streamsLost },
    since: wallTimeAt(clock, since),
    startedAt: wallTimeAt(clock, startedAt),
    route: link && dialer.routeOf?.(link),
    links: current?.driver.linkCount ?? 0,
    roundTripMs: current?.driver.quickestRoundTrip,
    ...streamsOf(parts),
    associations: associationsOf(sessions),
    transferred: transferredBy(history, sessions),
    outage: state === 'connected' ? undefined : outageOf(parts),
  };
}

export function tunnelReadings(parts: TunnelParts): TunnelReadings {
  const { dialer, history, sessions, current } = parts;
  const established = [...sessions].filter(({ wasEstablished, driver }) => wasEstablished && !driver.isOver);
  const attached = established.filter(({ driver }) => driver.isAttached).length;
  const links = [...sessions].flatMap(({ driver }) => driver.eachLink);
  const { resumes, streamsLost } = history;
  return {
    ...{ state: stateOf(parts).state, attached, detached: established.length - attached, resumes, streamsLost },
    carriers: links.map((link) => dialer.routeOf?.(link)?.carrier ?? 'websocket'),
    streamCount: [...sessions].reduce((sum, { driver }) => sum + driver.streamCount, 0),
    associations: associationsOf(sessions),
    roundTripMs: current?.driver.quickestRoundTrip,
    transferred: transferredBy(history, sessions),
  };
}

function stateOf({ history, current, wasConnected, lostAt }: TunnelParts): { state: TunnelState; since: number } {
  const { closingAt, connectedAt, startedAt } = history;
  if (closingAt !== undefined) return { state: 'closing', since: closingAt };
  if (current?.isUsable) return { state: 'connected', since: connectedAt };
  if (current?.wasEstablished) return { state: 'link-lost', since: current.lostAt };
  return wasConnected
    ? { state: 'disconnected', since: lostAt ?? connectedAt }
    : { state: 'connecting', since: startedAt };
}

/** While a session drains and the next one is not there yet. */
function linkOfAny(sessions: ReadonlySet<ReconnectingSession>) {
  for (const { driver } of sessions) if (driver.oldestLink !== undefined) return driver.oldestLink;
  return undefined;
}

function streamsOf({ clock, sessions }: TunnelParts): Pick<TunnelStatus, 'streams' | 'streamCount'> {
  const streams = [...sessions].flatMap(({ driver }) => [...driver.openStreams]);
  const shown = streams.slice(-MAX_STREAMS).map(({ target, openedAt, sentBytes, receivedBytes }) => ({
    target,
    openedAt: wallTimeAt(clock, openedAt),
    sent: sentBytes,
    received: receivedBytes,
  }));
  return { streams: shown, streamCount: streams.length };
}

function associationsOf(sessions: ReadonlySet<ReconnectingSession>): number {
  let count = 0;
  for (const { driver } of sessions) count += driver.associationCount;
  return count;
}

function transferredBy(history: ClientHistory, sessions: ReadonlySet<ReconnectingSession>): Transferred {
  let { sent, received } = history.transferred;
  for (const { driver } of sessions) {
    sent += driver.transferred.sent;
    received += driver.transferred.received;
  }
  return { sent, received };
}

function outageOf({ clock, history, current }: TunnelParts): TunnelOutage {
  const { nextAttemptAt, trouble } = history;
  const isDue = nextAttemptAt === undefined || current?.isDialing === true;
  const heldUntil = current?.heldUntil;
  return {
    ...trouble,
    nextAttemptAt: isDue ? undefined : wallTimeAt(clock, nextAttemptAt),
    heldUntil: heldUntil === undefined ? undefined : wallTimeAt(clock, heldUntil),
  };
}
