/** Opens a client's sealed links: to the exit of an invite, at its relays in turn. */
import type { Invite } from '../crypto/invite.ts';
import { preferredSuite } from '../crypto/suite-choice.ts';
import { importKeyPair } from '../crypto/x25519.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { MessageLink } from '../transport/message-link.ts';
import { type Encryption, type InitiatorOptions, initiateSecureLink } from './handshake.ts';
import { DirectWay, type LinkWay, type PageDialer, PreferredWay, TetherWay } from './link-ways.ts';
import { TicketDialer } from './ticket-dialer.ts';

export interface LinkDialer {
  /** @throws WstunError as dialWebSocket */
  dial(signal: AbortSignal): Promise<MessageLink>;
}

export interface TetherOptions {
  readonly pages: PageDialer;
  /** Also dial from here, and prefer that while it works. */
  readonly direct: boolean;
}

export class RelayDialer implements LinkDialer {
  private readonly way: LinkWay;
  private readonly handshake: InitiatorOptions;

  /** Whether encryption may be off is for the caller to check: `refuseUnsealed`. @param tether links may be carried by pages */
  constructor(invite: Invite, encryption: Encryption, logger: Logger, tether?: TetherOptions) {
    this.way = wayTo(invite, encryption, logger, tether);
    this.handshake = {
      keys: importKeyPair(invite.bearer.exposeSessionKey()),
      exitKey: invite.exitSessionKey,
      suite: preferredSuite(() => performance.now()),
      encryption,
    };
  }

  async dial(signal: AbortSignal): Promise<MessageLink> {
    const link = await this.way.dial(signal);
    return await initiateSecureLink(link, this.handshake, signal);
  }
}

/** Raw links to the exit of an invite. */
function wayTo(invite: Invite, encryption: Encryption, logger: Logger, tether?: TetherOptions): LinkWay {
  const dialer = new TicketDialer(invite, logger);
  const destination = invite.exitName ?? '';
  const direct = new DirectWay(dialer, destination, encryption === 'on');
  if (tether === undefined) return direct;
  const byPage = new TetherWay(dialer, destination, tether.pages);
  return tether.direct ? new PreferredWay(direct, byPage, logger) : byPage;
}

/**
 * Unsealed records are for TLS that ends where the exit is.
 * @param tethered pages may carry the links
 * @throws WstunError encryption-needed where others could read them
 */
export function refuseUnsealed(invite: Invite, tethered: boolean): void {
  if (tethered) throw new WstunError('encryption-needed', 'a phone would carry it in the clear (--tether)');
  if (invite.exitName !== undefined)
    throw new WstunError('encryption-needed', 'this invite leads to an exit behind the relay');
  const plain = invite.relayUrls.some((url) => !url.startsWith('wss:'));
  if (plain) throw new WstunError('encryption-needed', 'the relay is reached without TLS (ws://)');
}
