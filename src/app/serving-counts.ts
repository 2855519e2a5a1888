/** What a relay or an exit has counted since its start, whatever its keys were. */
import { StreamCounts } from '../exit/stream-counts.ts';
import { Histogram, WORK_BUCKETS } from '../observability/histogram.ts';
import { Tally } from '../observability/tally.ts';
import { RendezvousCounts } from '../relay/rendezvous-counts.ts';
import { SessionCounts } from '../tunnel/session/session-counts.ts';

export class ServingCounts {
  readonly sessions: SessionCounts;
  readonly streams: StreamCounts;

  /** @param isTimed somebody reads how long things take: only then it is measured */
  constructor(isTimed: boolean) {
    this.sessions = new SessionCounts(isTimed ? new Histogram() : undefined);
    this.streams = new StreamCounts(isTimed);
  }

  /** Everything that was refused, by reason. */
  get refusals(): Readonly<Record<string, number>> {
    return Tally.together([this.sessions.refused, this.streams.refused]);
  }
}

export class RelayCounts extends ServingCounts {
  /** Requests that became no links, by reason. */
  readonly gate = new Tally();
  /** Of checks of tickets. */
  readonly ticketTime: Histogram | undefined;
  readonly rendezvous: RendezvousCounts;

  constructor(isTimed: boolean) {
    super(isTimed);
    this.ticketTime = isTimed ? new Histogram(WORK_BUCKETS) : undefined;
    this.rendezvous = new RendezvousCounts(isTimed ? new Histogram() : undefined);
  }

  override get refusals(): Readonly<Record<string, number>> {
    const { gate, rendezvous, sessions, streams } = this;
    return Tally.together([gate, rendezvous.refused, sessions.refused, streams.refused]);
  }
}
