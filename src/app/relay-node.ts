/** What makes a process one of several nodes of a relay. In one process there is none of it. */
import type { MetricsSource } from '../observability/metric.ts';
import type { OtherNodes } from '../relay/other-nodes.ts';
import type { Rendezvous } from '../relay/rendezvous.ts';
import type { SharedChallenges } from '../relay/shared-challenges.ts';
import type { SharedLoad } from '../relay/shared-load.ts';
import type { SessionPlaces } from '../tunnel/session/session-places.ts';

/** For another process, which shows the metrics of all. */
export interface Measured extends MetricsSource {
  /** As of AdminPages. */
  whyNotReady(): string | undefined;
  /** As of AdminPages. */
  lacking(): string | undefined;
}

/** Of a process that shows no admin pages of its own, to the one that does. */
export interface Readiness {
  readonly why?: string | undefined;
  readonly lacking?: string | undefined;
}

export interface RelayNode {
  readonly rendezvous: Rendezvous;
  /** Of sessions of the relay's own exit, where several processes are one exit. */
  readonly places?: SessionPlaces | undefined;
  /** Limits that hold for nodes on one port together. */
  readonly load?: SharedLoad | undefined;
  /** The id of the relay that they are, as exits are told it: 32 hex digits. Default: one of its own. */
  readonly instance?: string | undefined;
  /** Nodes on that port. */
  readonly count: number;
  /** Of the process that has started it: no client may reach them through the exit. */
  readonly ownPorts?: readonly number[] | undefined;
  /** Takes what the relay measures of itself. Default: nothing is measured for others. */
  readonly onMeasured?: ((measured: Measured) => void) | undefined;
  /** What the gate asks of nodes on that port. */
  readonly others?: OtherNodes | undefined;
  /** Of a certificate authority, at nodes on that port. */
  readonly challenges?: SharedChallenges | undefined;
}
