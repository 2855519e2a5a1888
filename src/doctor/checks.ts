/** The checks of an examination: their names in the order in which they are made, and what one of them says. Pure. */
import type { FaultName, WstunError } from '../errors.ts';

/**
 * - Of this machine: `environment`, `listen` (the port of the proxy), `names` (DNS).
 * - Of one path to the relay: `tcp` directly or `proxy`, `tls`, and by what a link is carried: `websocket`, `http`.
 * - Of the relay: `clock`, `ticket`. Of the exit: `handshake`, `exit`, `round-trip`.
 * - Of what the exit does for a program: `policy`, `resolver`, `target`, `throughput`; of the network, too: `idle`.
 */
export type CheckName =
  | 'environment'
  | 'listen'
  | 'names'
  | 'tcp'
  | 'proxy'
  | 'tls'
  | 'websocket'
  | 'http'
  | 'clock'
  | 'ticket'
  | 'handshake'
  | 'exit'
  | 'round-trip'
  | 'policy'
  | 'resolver'
  | 'target'
  | 'throughput'
  | 'idle';

/** `skipped`: what it depends on has failed, or nobody asked for it, or there is nothing to find out. */
type CheckState = 'ok' | 'failed' | 'skipped';

/** A check that is over. It holds no secret. */
export interface Check {
  readonly name: CheckName;
  readonly state: CheckState;
  /** 0 for one that was skipped. */
  readonly ms: number;
  /** Where it was made; '' where there is only one place. */
  readonly place: string;
  /** What was found, or why not. */
  readonly detail: string;
  /** Of one that has failed. */
  readonly error?: WstunError;
}

/** By which check a fault of a link shows, if not by how far the link has come. */
const BY_FAULT: Readonly<Partial<Record<FaultName, CheckName>>> = {
  'relay-refused': 'ticket',
  'wrong-path': 'ticket',
  'clock-off': 'clock',
  'relay-full': 'ticket',
  'too-often': 'ticket',
  'keys-rotated': 'ticket',
  'access-removed': 'ticket',
  'too-many-sessions': 'exit',
  'exit-absent': 'exit',
  overloaded: 'exit',
  'shutting-down': 'exit',
  'bad-version': 'exit',
};

/** Of the relay or the exit itself; undefined: of what is on the way. */
export function checkOfFault(fault: FaultName): CheckName | undefined {
  return BY_FAULT[fault];
}
