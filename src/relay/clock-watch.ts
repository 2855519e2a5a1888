/**
 * Lets the gate look for peers with wrong clocks in the background: in slices, with pauses between them, so that
 * whatever strangers send costs a tenth of a core at most, and delays no answer.
 */
import type { TicketOpener } from '../crypto/ticket.ts';

const SLICE_MS = 2;
const PAUSE_MS = 20;
/** Between two looks at the time; 0.1 ms. */
const HINTS_A_LOOK = 40;

type Clocks = Pick<TicketOpener, 'hasClocksToFind' | 'findClocks'>;

export class ClockWatch {
  private readonly tickets: Clocks;
  private readonly onFound: (peer: string, offset: number) => void;
  private pause: NodeJS.Timeout | undefined;

  /** @param onFound with the peer's clock less this one, seconds */
  constructor(tickets: Clocks, onFound: (peer: string, offset: number) => void) {
    this.tickets = tickets;
    this.onFound = onFound;
  }

  /** To be called when a ticket was unknown. */
  wake(): void {
    if (this.pause === undefined && this.tickets.hasClocksToFind) this.rest();
  }

  close(): void {
    clearTimeout(this.pause);
  }

  private rest(): void {
    this.pause = setTimeout(() => this.takeSlice(), PAUSE_MS).unref();
  }

  private takeSlice(): void {
    this.pause = undefined;
    const end = performance.now() + SLICE_MS;
    while (this.tickets.hasClocksToFind && performance.now() < end) {
      for (const { peer, offset } of this.tickets.findClocks(HINTS_A_LOOK, Date.now())) this.onFound(peer, offset);
    }
    if (this.tickets.hasClocksToFind) this.rest();
  }
}
