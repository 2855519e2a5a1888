/** The metrics of a client: what its tunnel has counted, and what it is at the moment. */
import { byLabel, type Metric, single, timed } from '../observability/metric.ts';
import type { ClientCounts } from '../tunnel/session/client-counts.ts';
import type { TunnelReadings, TunnelState } from '../tunnel/session/client-status.ts';
import { byFault, linksByCarrier, streamsRefused } from './serving-metrics.ts';

const STATES: readonly TunnelState[] = ['connecting', 'connected', 'link-lost', 'disconnected', 'closing'];

export function clientMetrics(tunnel: TunnelReadings, counts: ClientCounts): readonly Metric[] {
  const { state, attached, detached, roundTripMs, transferred } = tunnel;
  const { sent, received } = transferred;
  return [
    byLabel('wstun_sessions', { attached, detached }),
    single('wstun_sessions_started_total', counts.sessionsStarted),
    byFault('wstun_sessions_ended_total', counts.sessionsEnded),
    single('wstun_resumes_total', tunnel.resumes),
    linksByCarrier(tunnel.carriers),
    timed('wstun_handshake_seconds', counts.handshakeTime),
    single('wstun_streams_open', tunnel.streamCount),
    single('wstun_streams_opened_total', counts.streamsOpened),
    streamsRefused(counts.streamsRefused),
    byLabel('wstun_payload_bytes_total', { sent, received }),
    byLabel('wstun_client_state', Object.fromEntries(STATES.map((each) => [each, Number(each === state)]))),
    byLabel('wstun_round_trip_seconds', { now: seconds(roundTripMs?.now), min: seconds(roundTripMs?.min) }),
    single('wstun_link_losses_total', counts.linksLost),
    byFault('wstun_link_failures_total', counts.linkFailures),
    timed('wstun_link_dial_seconds', counts.dialTime),
    single('wstun_streams_lost_total', tunnel.streamsLost),
    single('wstun_associations_open', tunnel.associations),
  ];
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}

/** Why programs cannot connect through it; undefined: they can. @param code of the latest fault, if there is one */
export function whyClientNotReady(state: TunnelState, code: string | undefined): string | undefined {
  const fault = code === undefined ? '' : ` (${code})`;
  switch (state) {
    case 'connected':
      return undefined;
    case 'connecting':
      return `there is no session yet${fault}`;
    case 'link-lost':
      return `the link is lost, and its streams wait for the next one${fault}`;
    case 'disconnected':
      return `the session has ended, and there is no other one yet${fault}`;
    case 'closing':
      return 'draining';
  }
}
