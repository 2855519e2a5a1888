/**
 * Tickets that several relays would open: each is claimed in a bucket before it opens a link, so that it opens one in
 * the whole cluster. A ticket that is for one relay alone needs no claim: no other relay opens it.
 */
import { WstunError } from '../errors.ts';
import type { TicketClaims } from '../relay/other-nodes.ts';
import type { Bucket } from './bus.ts';

/** Longer than a ticket is valid, with the clocks of peer and relay as far apart as they may be (docs/protocol.md). */
export const CLAIM_MAX_AGE_MS = 6 * 60_000;

const MARK = Buffer.from('1');

export class ClusterClaims implements TicketClaims {
  /** @param isOurs whether tickets with that audience open at this relay only */
  constructor(
    private readonly tickets: Bucket,
    private readonly isOurs: (audience: bigint) => boolean,
  ) {}

  /**
   * While the cluster is away, another relay may have opened a link with the ticket: then it opens none here. That is
   * said at once, as whoever sent it waits for an answer.
   */
  async claim(nonce: string, audience: bigint | undefined): Promise<boolean> {
    if (audience !== undefined && this.isOurs(audience)) return true;
    if (!this.tickets.isOpen) return false;
    try {
      return await this.tickets.create(nonce, MARK);
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      return false;
    }
  }
}
