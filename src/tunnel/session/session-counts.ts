/** What sessions came to so far, at the end that serves them. It outlives the keys, and whoever serves the sessions. */
import type { WireFaultName } from '../../errors.ts';
import type { Histogram } from '../../observability/histogram.ts';
import { Tally } from '../../observability/tally.ts';
import type { Transferred } from './open-streams.ts';

export class SessionCounts {
  started = 0;
  /** How often a session without a link got one. */
  resumed = 0;
  /** By the names of faults, both. */
  readonly ended = new Tally();
  /** Links and sessions. */
  readonly refused = new Tally();
  private sent = 0;
  private received = 0;

  /** @param handshakeTime from an open link to the agreed keys; default: it is not timed */
  constructor(readonly handshakeTime?: Histogram) {}

  /** Payload of sessions that have ended, bytes. */
  get transferred(): Transferred {
    const { sent, received } = this;
    return { sent, received };
  }

  /** @param transferred all of its payload */
  noteEnd(fault: WireFaultName, { sent, received }: Transferred): void {
    this.ended.note(fault);
    this.sent += sent;
    this.received += received;
  }
}
