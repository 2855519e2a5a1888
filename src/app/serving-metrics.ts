/** The metrics of a relay and of an exit: what their parts have counted, and what is open now. */
import { FAULTS, type FaultName } from '../errors.ts';
import { byLabel, type Labels, labelled, type Metric, single, timed, timedBy } from '../observability/metric.ts';
import type { MetricName } from '../observability/metric-table.ts';
import type { Tally } from '../observability/tally.ts';
import type { Refused } from '../relay/gate.ts';
import type { FrontReadings } from '../relay/relay-server.ts';
import type { CallEnd } from '../relay/rendezvous-counts.ts';
import type { MessageLink } from '../transport/message-link.ts';
import type { ServedSession } from '../tunnel/session/exit-sessions.ts';
import type { RelayCounts, ServingCounts } from './serving-counts.ts';
import type { ClusterStatus } from './status.ts';

type Stage = 'gate' | 'rendezvous' | 'session';

/** Before the first one, too: Prometheus does not see an increase from nothing. The compiler finds a missing one. */
const GATE_REASONS: Readonly<Record<Refused['reason'], 0>> = {
  ...{
    'no-ticket': 0,
    malformed: 0,
    unknown: 0,
    forged: 0,
    unsupported: 0,
    misplaced: 0,
    misdirected: 0,
    'from-page': 0,
  },
  ...{ late: 0, early: 0, replayed: 0, 'upgrade-dropped': 0, 'wrong-path': 0, 'relay-full': 0, 'too-often': 0 },
};
const NO_CALLS: Readonly<Record<CallEnd, 0>> = { answered: 0, unanswered: 0, absent: 0, unreachable: 0, dropped: 0 };
const DIAL_FAULTS = Object.fromEntries(
  Object.entries(FAULTS).flatMap(([name, fault]) => (fault.class === 'dial' ? [[name, 0]] : [])),
);

/** Reasons that the relay does not find in a list of faults, as the peer is told of them. */
const CODES: Readonly<Record<string, FaultName>> = { late: 'clock-off', early: 'clock-off' };

function faultLabels(reason: string): Labels {
  const name = CODES[reason] ?? reason;
  return { reason, code: Object.hasOwn(FAULTS, name) ? FAULTS[name as FaultName].code : '' };
}

/** One value for each fault that was counted. */
export function byFault(name: MetricName, tally: Tally, before: Readonly<Record<string, number>> = {}): Metric {
  const counts = Object.entries({ ...before, ...tally.counts });
  return labelled(
    name,
    counts.map(([reason, count]) => [faultLabels(reason), count] as const),
  );
}

export const streamsRefused = (tally: Tally): Metric => byFault('wstun_streams_refused_total', tally, DIAL_FAULTS);

function refusals(byStage: Readonly<Partial<Record<Stage, Readonly<Record<string, number>>>>>): Metric {
  const all = Object.entries(byStage).flatMap(([stage, counts]) =>
    Object.entries(counts).map(([reason, count]) => [{ stage, ...faultLabels(reason) }, count] as const),
  );
  return labelled('wstun_refusals_total', all);
}

/** Sessions that are served now, those of a relay's own exit. Payload goes to the peer, or comes from it. */
export function sessionMetrics(sessions: Iterable<ServedSession>, counts: ServingCounts): readonly Metric[] {
  const { started, resumed, ended, handshakeTime, transferred } = counts.sessions;
  const { open, opened, refused, dialTimes, pending } = counts.streams;
  let { sent, received } = transferred;
  const states = { attached: 0, detached: 0 };
  for (const { driver } of sessions) {
    states[driver.isAttached ? 'attached' : 'detached'] += 1;
    const now = driver.transferred;
    sent += now.sent;
    received += now.received;
  }
  return [
    byLabel('wstun_sessions', states),
    single('wstun_sessions_started_total', started),
    byFault('wstun_sessions_ended_total', ended),
    single('wstun_resumes_total', resumed),
    timed('wstun_handshake_seconds', handshakeTime),
    single('wstun_streams_open', open),
    single('wstun_streams_opened_total', opened),
    streamsRefused(refused),
    byLabel('wstun_payload_bytes_total', { sent, received }),
    timedBy('wstun_dial_seconds', dialTimes),
    single('wstun_dials_pending', pending()),
  ];
}

export interface RelayReadings {
  /** Undefined before it listens. */
  readonly front: FrontReadings | undefined;
  readonly exitsRegistered: number;
  readonly clientsHeld: number;
}

/** What is only at a relay. */
export function relayMetrics({ front, exitsRegistered, clientsHeld }: RelayReadings, counts: RelayCounts): Metric[] {
  const { rendezvous, gate, sessions, ticketTime } = counts;
  const { calls, answerTime, forwarded } = rendezvous;
  const { sent: to_client, received: from_client } = forwarded.transferred;
  const { links = { websocket: 0, http: 0, page: 0 }, linksLimit, pending = 0 } = front ?? {};
  return [
    byLabel('wstun_links', links),
    single('wstun_links_limit', linksLimit),
    single('wstun_connections_pending', pending),
    refusals({
      gate: { ...GATE_REASONS, ...gate.counts },
      rendezvous: rendezvous.refused.counts,
      session: sessions.refused.counts,
    }),
    timed('wstun_ticket_seconds', ticketTime),
    single('wstun_exits_registered', exitsRegistered),
    single('wstun_clients_held', clientsHeld),
    byLabel('wstun_calls_total', { ...NO_CALLS, ...calls.counts }),
    timed('wstun_call_answer_seconds', answerTime),
    single('wstun_spliced_pairs', forwarded.links),
    byLabel('wstun_spliced_bytes_total', { to_client, from_client }),
  ];
}

/** None at a relay without a cluster. */
export function clusterMetrics(status: ClusterStatus | undefined): readonly Metric[] {
  if (status === undefined) return [];
  const { connectedSince, relays } = status;
  return [
    single('wstun_cluster_connected', connectedSince === undefined ? 0 : 1),
    single('wstun_cluster_relays', relays),
  ];
}

export interface ExitReadings {
  readonly sessions: Iterable<ServedSession>;
  /** By what a link of a session goes, where that is known. */
  readonly carrierOf: (link: MessageLink) => string | undefined;
  readonly relays: number;
  readonly registrations: number;
  /** By the names of faults. */
  readonly registrationFailures: Tally;
}

/** What is only at an exit. */
export function exitMetrics(readings: ExitReadings, counts: ServingCounts): readonly Metric[] {
  const { sessions, carrierOf, relays, registrations, registrationFailures } = readings;
  const links = [...sessions].flatMap(({ driver }) => driver.eachLink);
  return [
    linksByCarrier(links.map(carrierOf)),
    refusals({ session: counts.sessions.refused.counts }),
    single('wstun_relays', relays),
    single('wstun_registrations', registrations),
    byFault('wstun_registration_failures_total', registrationFailures),
  ];
}

/** @param carriers of each link */
export function linksByCarrier(carriers: readonly (string | undefined)[]): Metric {
  const counts: Record<string, number> = { websocket: 0, http: 0, page: 0 };
  for (const carrier of carriers) if (carrier !== undefined) counts[carrier] = (counts[carrier] ?? 0) + 1;
  return byLabel('wstun_links', counts);
}
