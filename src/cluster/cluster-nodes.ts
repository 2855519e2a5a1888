/**
 * What the gate of a relay asks of the other relays of its cluster: whether a ticket was used there. One that is for
 * this relay alone opens nowhere else. Of HTTP links they know nothing: each has its own port.
 */
import type { OtherNodes } from '../relay/other-nodes.ts';
import type { Bucket } from './bus.ts';
import { claimTicket } from './ticket-claims.ts';

export class ClusterNodes implements OtherNodes {
  /** @param isOurs whether tickets with that audience open at this relay only */
  constructor(
    private readonly tickets: Bucket,
    private readonly isOurs: (audience: bigint) => boolean,
  ) {}

  /** While the cluster is away, another relay may have opened a link with it: then it opens none here. */
  async claim(nonce: string, audience: bigint | undefined): Promise<boolean> {
    if (audience !== undefined && this.isOurs(audience)) return true;
    return (await claimTicket(this.tickets, nonce)) === 'claimed';
  }

  noteHttpLink(): void {}

  nodeOfHttpLink(): undefined {}

  forward(): void {}

  setRequestHandler(): void {}
}
