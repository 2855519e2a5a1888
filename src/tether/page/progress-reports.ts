/** Reports to the laptop how many bytes of a link have left for the relay (docs/tether-protocol.md §6). */
import type { PageClock, PageTimer } from './page-clock.ts';

/** Half of the least that the laptop may have on the way. */
const REPORT_BYTES = 64 * 1024;
/** The shortest time between two reports: a fast upstream connection would cost a report for each message. */
const REPORT_INTERVAL_MS = 4;
/** There is no event for a WebSocket that drains. Browsers allow no shorter timer. */
const POLL_MS = 4;

export class ProgressReports {
  /** Bytes of messages handed to the upstream connection, and how many of these the laptop was told to have left. */
  private handedOn = 0;
  private reported = 0;
  private reportedAt = 0;
  private poll: PageTimer | undefined;

  constructor(
    private readonly upstream: Pick<WebSocket, 'bufferedAmount'>,
    private readonly send: (text: string) => void,
    private readonly clock: PageClock,
  ) {}

  /** A message was handed to the upstream connection. */
  count(bytes: number): void {
    this.handedOn += bytes;
  }

  /** Sends a report if enough has left since the last one, or all. */
  report(): void {
    const waiting = this.upstream.bufferedAmount;
    const carried = this.handedOn - waiting;
    const isWorthIt = carried - this.reported >= REPORT_BYTES || (waiting === 0 && carried > this.reported);
    if (isWorthIt && this.clock.now() - this.reportedAt >= REPORT_INTERVAL_MS) {
      this.reported = carried;
      this.reportedAt = this.clock.now();
      this.send(String(carried));
    }
    if (this.reported < this.handedOn) this.poll ??= this.clock.setTimeout(() => this.reportAgain(), POLL_MS);
  }

  stop(): void {
    this.clock.clearTimeout(this.poll);
  }

  private reportAgain(): void {
    this.poll = undefined;
    this.report();
  }
}
