/** What makes a process one of several nodes of a relay. In one process there is none of it. */
import type { OtherNodes } from '../relay/other-nodes.ts';
import type { Rendezvous } from '../relay/rendezvous.ts';
import type { SharedLoad } from '../relay/shared-load.ts';
import type { SessionPlaces } from '../tunnel/session/session-places.ts';

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
  /** What the gate asks of nodes on that port. */
  readonly others?: OtherNodes | undefined;
}
