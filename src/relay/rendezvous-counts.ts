/** What the calls of clients to named exits came to so far. It outlives the keys of the relay. */
import type { Histogram } from '../observability/histogram.ts';
import { Tally } from '../observability/tally.ts';
import { ForwardedPeers } from './forwarded-peers.ts';

/**
 * What became of a request to an exit. `unanswered`: not in time. `absent`, `unreachable`: as other nodes said.
 * `dropped`: the exit has disconnected, or the relay stops.
 */
export type CallEnd = 'answered' | 'unanswered' | 'absent' | 'unreachable' | 'dropped';

export class RendezvousCounts {
  readonly calls = new Tally();
  /** Clients and exits, by the names of faults. */
  readonly refused = new Tally();
  readonly forwarded = new ForwardedPeers();

  /** @param answerTime of requests; default: they are not timed */
  constructor(readonly answerTime?: Histogram) {}

  /** @param waitedMs since the request was sent */
  noteCall(outcome: CallEnd, waitedMs: number): void {
    this.calls.note(outcome);
    if (outcome === 'answered') this.answerTime?.observe(waitedMs / 1000);
  }
}
