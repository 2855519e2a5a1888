/** Searches for peers with wrong clocks in slices: whatever strangers send costs a tenth of a core at most. */
import { type Clock, systemClock, type Timer } from '../clock.ts';
import type { TicketOpener } from '../crypto/ticket.ts';

/** So short that it shows in no answer's time, which would tell strangers that tickets are looked at here. */
const SLICE_MS = 0.2;
const PAUSE_MS = 2;
/** Between two readings of the time; 0.1 ms. */
const HINTS_PER_STEP = 40;

type Clocks = Pick<TicketOpener, 'hasClocksToFind' | 'findClocks'>;

export class ClockWatch {
  private pause: Timer | undefined;

  /** @param onFound with the peer's clock less this one, seconds */
  constructor(
    private readonly tickets: Clocks,
    private readonly onFound: (peer: string, offset: number) => void,
    private readonly clock: Clock = systemClock,
  ) {}

  /** To be called when a ticket was unknown. */
  wake(): void {
    if (this.pause === undefined && this.tickets.hasClocksToFind) this.searchLater();
  }

  close(): void {
    this.clock.clearTimeout(this.pause);
  }

  private searchLater(): void {
    this.pause = this.clock.setTimeout(() => this.searchSlice(), PAUSE_MS).unref();
  }

  private searchSlice(): void {
    this.pause = undefined;
    const end = this.clock.now() + SLICE_MS;
    while (this.tickets.hasClocksToFind && this.clock.now() < end) {
      for (const { peer, offset } of this.tickets.findClocks(HINTS_PER_STEP, this.clock.wallTime()))
        this.onFound(peer, offset);
    }
    if (this.tickets.hasClocksToFind) this.searchLater();
  }
}
