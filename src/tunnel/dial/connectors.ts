/** How a client's raw links are established: dialled from here, or by a phone's page. */
import { type Clock, systemClock } from '../../clock.ts';
import { PAGE_FEATURE } from '../../crypto/ticket.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import type { TicketDialer, TicketUrl } from './ticket-dialer.ts';

/** The handler of a link must be set in the turn in which it resolves. */
export interface Connector<L extends MessageLink = MessageLink> {
  /** False: at the moment there is nothing to dial with, and `dial` waits until there is, however long. */
  readonly isAvailable: boolean;
  /** @throws WstunError */
  dial(signal: AbortSignal): Promise<L>;
}

interface AskedLink extends MessageLink {
  /** The URL that the page has dialled. */
  readonly asked: string;
}

/** Opens links through web pages; waits for a page, however long. */
export interface PageDialer {
  /** Those that can be asked now. */
  readonly pages: number;
  /** @param makeUrl for each page: a relay's URL with a fresh ticket, by a clock so far ahead of ours */
  dial(makeUrl: (skewMs: number) => string, signal: AbortSignal): Promise<AskedLink>;
}

export class DirectConnector implements Connector {
  readonly isAvailable = true;
  private readonly mask: { readonly mask?: 'zero' };

  /** @param sealed what the link carries is ciphertext, which needs no mask */
  constructor(
    private readonly dialer: TicketDialer,
    private readonly destination: string,
    sealed: boolean,
  ) {
    // Masks keep a page's script from choosing the bytes on the wire (RFC 6455 §10.3): a sealed record's are random.
    this.mask = sealed ? { mask: 'zero' } : {};
  }

  dial(signal: AbortSignal): Promise<MessageLink> {
    const scope = { role: 'client', destination: this.destination } as const;
    return this.dialer.dial(this.dialer.nextRelay(), scope, { signal, ...this.mask });
  }
}

export class TetherConnector implements Connector {
  constructor(
    private readonly dialer: TicketDialer,
    private readonly destination: string,
    private readonly pages: PageDialer,
    private readonly clock: Clock = systemClock,
  ) {}

  get isAvailable(): boolean {
    return this.pages.pages > 0;
  }

  async dial(signal: AbortSignal): Promise<MessageLink> {
    const scope = { role: 'client', destination: this.destination, features: PAGE_FEATURE } as const;
    const made = new Map<string, TicketUrl>();
    const makeUrl = (skewMs: number): string => {
      const ticketUrl = this.dialer.ticketUrl(this.dialer.nextRelay(), scope, this.clock.wallTime() + skewMs);
      made.set(ticketUrl.url.href, ticketUrl);
      return ticketUrl.url.href;
    };
    const link = await this.pages.dial(makeUrl, signal);
    const dialled = made.get(link.asked);
    return dialled === undefined ? link : this.dialer.remember(link, dialled.rotationProof);
  }
}
