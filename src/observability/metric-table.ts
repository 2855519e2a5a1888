/**
 * Every metric that wstun shows to Prometheus: its type, its labels, which role has it, what it means. docs/metrics.md
 * has the same table, and a test holds the two together. No label has what a peer may choose: no name, address, target
 * or invite.
 */

export type MetricRole = 'relay' | 'exit' | 'client';

/** `summary`: count and sum, without quantiles. */
export type MetricType = 'counter' | 'gauge' | 'histogram' | 'summary';

/** What stands for several processes together, by the names of prom-client. Default: the sum. */
type Aggregation = 'sum' | 'max' | 'min' | 'first';

export interface MetricDefinition {
  readonly type: MetricType;
  /** With the values that each may have, for people: a list, or what they are. */
  readonly labels: Readonly<Record<string, string>>;
  readonly roles: readonly MetricRole[];
  readonly help: string;
  readonly together: Aggregation;
}

const ALL: readonly MetricRole[] = ['relay', 'exit', 'client'];
const SERVING: readonly MetricRole[] = ['relay', 'exit'];

interface More {
  readonly labels?: Readonly<Record<string, string>>;
  readonly roles?: readonly MetricRole[];
  readonly together?: Aggregation;
}

function metric(type: MetricType, help: string, { labels = {}, roles = ALL, together = 'sum' }: More) {
  return { type, help, labels, roles, together };
}

const counter = (help: string, more: More = {}): MetricDefinition => metric('counter', help, more);
const gauge = (help: string, more: More = {}): MetricDefinition => metric('gauge', help, more);
const histogram = (help: string, more: More = {}): MetricDefinition => metric('histogram', help, more);

const OF_FAULT = { reason: 'name of a fault', code: 'its WSTUN-E…' };

export const METRICS = {
  // sessions and their links
  wstun_sessions: gauge('Sessions: attached ones have a link, detached ones wait for the next.', {
    labels: { state: 'attached, detached' },
  }),
  wstun_sessions_started_total: counter('Sessions that have begun.'),
  wstun_sessions_ended_total: counter('Sessions that have ended, by why.', { labels: OF_FAULT }),
  wstun_resumes_total: counter('Sessions that had lost their last link and got another one, without a lost byte.'),
  wstun_links: gauge(
    'Links that are open. page: of a phone or a browser, by either of the others. At an exit those of sessions.',
    {
      labels: { carrier: 'websocket, http, page' },
    },
  ),
  wstun_links_limit: gauge('Links that the relay may have at once.', { roles: ['relay'], together: 'max' }),
  wstun_handshake_seconds: histogram('From an open link to the keys that client and exit agree on.'),

  // streams
  wstun_streams_open: gauge('Streams that are open.'),
  wstun_streams_opened_total: counter('Streams that were opened.'),
  wstun_streams_refused_total: counter('Streams that could not be opened, by why.', { labels: OF_FAULT }),
  wstun_payload_bytes_total: counter(
    'Payload of streams and datagrams, sent to the other end of a session and received from it.',
    {
      labels: { direction: 'sent, received' },
    },
  ),
  wstun_dial_seconds: histogram(
    'How long dials of targets take, without the look-up of names. failed: given-up ones, too.',
    {
      labels: { outcome: 'connected, failed' },
      roles: SERVING,
    },
  ),
  wstun_dials_pending: gauge('Streams whose target is being looked up or dialled.', { roles: SERVING }),

  // who is let in
  wstun_refusals_total: counter(
    'Tickets, links and sessions that were refused, by where and why. An exit has only stage session.',
    {
      labels: { stage: 'gate, rendezvous, session', reason: 'name of a fault, or the gate’s', code: OF_FAULT.code },
      roles: SERVING,
    },
  ),
  wstun_ticket_seconds: histogram('How long the relay takes to check a ticket.', { roles: ['relay'] }),
  wstun_connections_pending: gauge('Connections at the public address that are not links, or not yet.', {
    roles: ['relay'],
  }),

  // named exits, at their relay
  wstun_exits_registered: gauge('Named exits that are registered at this relay.', { roles: ['relay'] }),
  wstun_clients_held: gauge('Links of clients that wait for their exit.', { roles: ['relay'] }),
  wstun_calls_total: counter(
    'Requests to exits to dial back for a client. dropped: the exit went, or the relay stops.',
    {
      labels: { outcome: 'answered, unanswered, absent, unreachable, dropped' },
      roles: ['relay'],
    },
  ),
  wstun_call_answer_seconds: histogram('From a request to an exit to the link by which it answers.', {
    roles: ['relay'],
  }),
  wstun_spliced_pairs: gauge('Links of clients that are joined with links of exits.', { roles: ['relay'] }),
  wstun_spliced_bytes_total: counter('Sealed bytes between clients and exits.', {
    labels: { direction: 'to_client, from_client' },
    roles: ['relay'],
  }),

  wstun_cluster_connected: gauge('1 while it is connected to the NATS servers of its cluster, else 0.', {
    roles: ['relay'],
    together: 'min',
  }),
  wstun_cluster_relays: gauge('Relays of the cluster, with this one: heard within 16 s, or before NATS was away.', {
    roles: ['relay'],
    together: 'max',
  }),

  // an exit and its relays
  wstun_relays: gauge('Relays at which the exit is to be registered.', { roles: ['exit'] }),
  wstun_registrations: gauge('Relays at which it is registered.', { roles: ['exit'] }),
  wstun_registration_failures_total: counter('Attempts to register that failed, and registrations that were lost.', {
    labels: OF_FAULT,
    roles: ['exit'],
  }),

  // a client
  wstun_client_state: gauge('1 for the state that the client is in.', {
    labels: { state: 'connecting, connected, link-lost, disconnected, closing' },
    roles: ['client'],
  }),
  wstun_round_trip_seconds: gauge('Round trip to the exit by the quickest link. None before the first answer.', {
    labels: { stat: 'now, min' },
    roles: ['client'],
    together: 'max',
  }),
  wstun_link_losses_total: counter('How often a session has lost its last link.', { roles: ['client'] }),
  wstun_link_failures_total: counter('Attempts to get a link that failed, by why.', {
    labels: OF_FAULT,
    roles: ['client'],
  }),
  wstun_link_dial_seconds: histogram('Attempts that got a link: from their beginning to a session on it.', {
    roles: ['client'],
  }),
  wstun_streams_lost_total: counter('Streams that ended with their session.', { roles: ['client'] }),
  wstun_associations_open: gauge('Associations of UDP that are open.', { roles: ['client'] }),

  // the process
  wstun_ready: gauge('1 where /readyz says ready, else 0.', { together: 'min' }),
  wstun_build_info: gauge('1, with the role, the version of wstun and that of Node.', {
    labels: { role: 'relay, exit, client', version: 'of wstun', node: 'of Node' },
    together: 'first',
  }),
  wstun_process_start_time_seconds: gauge('When the process started, since 1970.', { together: 'min' }),
  wstun_process_cpu_seconds_total: counter('Processor time.', {
    labels: { mode: 'user, system' },
  }),
  wstun_process_open_fds: gauge('File descriptors that are open. Only on Linux.'),
  wstun_process_max_fds: gauge('File descriptors that may be open. Only on Linux.'),
  wstun_memory_bytes: gauge('Memory. array_buffers is a part of external; rss has all.', {
    labels: { kind: 'rss, heap_total, heap_used, external, array_buffers' },
  }),
  wstun_event_loop_delay_seconds: gauge('How late the event loop was, since the last reading.', {
    labels: { stat: 'p50, p99, max' },
    together: 'max',
  }),
  wstun_event_loop_busy_seconds_total: counter('How long the event loop was busy, without waits.'),
  wstun_gc_pause_seconds: metric(
    'summary',
    'Collections of garbage: how many, and how long in all. major: full ones.',
    {
      labels: { kind: 'minor, major, incremental, weakcb, other' },
    },
  ),
} as const satisfies Readonly<Record<`wstun_${string}`, MetricDefinition>>;

export type MetricName = keyof typeof METRICS;
