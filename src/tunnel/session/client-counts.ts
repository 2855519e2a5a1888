/** What a client's sessions came to so far, beside what its status shows (`ClientHistory`). */
import { type FaultName, WstunError } from '../../errors.ts';
import { Histogram } from '../../observability/histogram.ts';
import { Tally } from '../../observability/tally.ts';

export class ClientCounts {
  sessionsStarted = 0;
  /** By the names of faults, all of these. */
  readonly sessionsEnded = new Tally();
  readonly linkFailures = new Tally();
  readonly streamsRefused = new Tally();
  linksLost = 0;
  streamsOpened = 0;

  /** Of attempts that got a link. */
  readonly dialTime: Histogram | undefined;
  /** From an open link to the agreed keys. */
  readonly handshakeTime: Histogram | undefined;

  /** @param isTimed somebody reads how long things take: only then it is measured */
  constructor(isTimed = false) {
    this.dialTime = isTimed ? new Histogram() : undefined;
    this.handshakeTime = isTimed ? new Histogram() : undefined;
  }

  /** @param error of any kind */
  noteRefused(error: unknown): void {
    this.streamsRefused.note(faultNameOf(error));
  }
}

function faultNameOf(error: unknown): FaultName {
  return error instanceof WstunError ? error.fault : 'internal';
}
