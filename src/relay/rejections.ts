/** How a relay rejects a link after its upgrade: with what says why, or nothing, then a close. Decides nothing. */
import type { TicketFields } from '../crypto/ticket.ts';
import type { WireFaultName } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { Tally } from '../observability/tally.ts';
import { encodeControl, encodeNotice } from '../transport/control-messages.ts';
import type { Message, MessageLink, MessageLinkHandler } from '../transport/message-link.ts';

const IGNORE: MessageLinkHandler = { handleMessage() {}, handleDrain() {}, handleClose() {} };

/** What a ticket said. */
export type TicketScope = Pick<TicketFields, 'role' | 'destination'>;

export class Rejections {
  /** @param tally of refusals, by the names of their faults */
  constructor(
    private readonly logger: Logger,
    private readonly tally = new Tally(),
  ) {}

  /** Tells a client that its exit is absent. @param reason for the log */
  rejectAbsent(link: MessageLink, peer: string, reason = 'its exit is not connected'): void {
    this.rejectClient(link, peer, 'exit-absent', reason);
  }

  /** Tells a client to try later. @param reason for the log */
  rejectOverloaded(link: MessageLink, peer: string, reason = 'there is too little memory left'): void {
    this.rejectClient(link, peer, 'overloaded', reason);
  }

  /** Tells the peer of a ticket for retired keys that the keys were rotated, with a proof. */
  rejectRetired(link: MessageLink, peer: string, { role, destination }: TicketScope, proof: Buffer): void {
    this.tally.note('keys-rotated');
    this.logger.info({ peer, remote: link.remote }, 'an invite from before the key rotation was used');
    if (role === 'client') sendLast(link, encodeNotice('keys-rotated', proof));
    else if (destination === '') sendLast(link, encodeControl({ type: 'rotated', proof: proof.toString('hex') }));
    else sendLast(link);
  }

  /**
   * Tells an exit that asks whether its registration is free that another exit still has it.
   * @param instance undefined: the exit does not ask which relay this is
   */
  rejectOccupied(link: MessageLink, exit: string, instance: string | undefined): void {
    this.tally.note('exit-replaced');
    this.logger.info({ exit, remote: link.remote }, 'an exit waits, because another exit is registered under its name');
    const named = instance === undefined ? [] : [encodeControl({ type: 'instance', id: instance })];
    sendLast(link, ...named, encodeControl({ type: 'occupied' }));
  }

  /** Closes the link of an exit that answers a request that is over, or was never sent. */
  rejectAnswer(link: MessageLink, exit: string): void {
    this.logger.debug({ exit, remote: link.remote }, 'an exit answered a request that does not exist');
    sendLast(link);
  }

  /** Closes the link because this relay stops. A client hears no notice: its exit may be well. */
  closeGoingAway(link: MessageLink): void {
    link.setHandler(IGNORE);
    link.close('going-away');
  }

  private rejectClient(link: MessageLink, peer: string, fault: WireFaultName, reason: string): void {
    this.tally.note(fault);
    this.logger.info({ peer, remote: link.remote, reason }, 'a client was rejected');
    sendLast(link, encodeNotice(fault));
  }
}

function sendLast(link: MessageLink, ...messages: readonly Message[]): void {
  link.setHandler(IGNORE);
  for (const message of messages) link.send(message);
  link.close();
}
