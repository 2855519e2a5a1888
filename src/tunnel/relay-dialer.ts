/** Opens links for a client's sessions: to the exit of an invite, at its relays in turn, sealed. */
import type { Invite } from '../crypto/invite.ts';
import { preferredSuite } from '../crypto/suite-choice.ts';
import { importKeyPair } from '../crypto/x25519.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { SessionRequest } from '../protocol/session-request.ts';
import { type Encryption, type InitiatorOptions, initiateSecureLink } from './handshake.ts';
import { DirectWay, type LinkWay, type PageDialer, PreferredWay, TetherWay } from './link-ways.ts';
import type { SecureLink } from './secure-link.ts';
import type { SessionDialer, SessionLink } from './session-keeper.ts';
import { requestSession } from './session-link.ts';
import { TicketDialer } from './ticket-dialer.ts';

export interface TetherOptions {
  readonly pages: PageDialer;
  /** Also dial from here, and prefer that while it works. */
  readonly direct: boolean;
}

export class RelayDialer implements SessionDialer {
  private readonly dialer: TicketDialer;
  private readonly way: LinkWay;
  private readonly handshake: InitiatorOptions;

  /** Whether encryption may be off is for the caller to check: `refuseUnsealed`. @param tether links may be carried by pages */
  constructor(invite: Invite, encryption: Encryption, logger: Logger, tether?: TetherOptions) {
    this.dialer = new TicketDialer(invite, logger);
    this.way = wayTo(this.dialer, invite.exitName ?? '', { encryption, logger, tether });
    this.handshake = {
      keys: importKeyPair(invite.bearer.exposeSessionKey()),
      exitKey: invite.exitSessionKey,
      suite: preferredSuite(() => performance.now()),
      encryption,
    };
  }

  async dial(request: () => SessionRequest, signal: AbortSignal): Promise<SessionLink> {
    const raw = await this.way.dial(signal);
    const rotationProof = this.dialer.rotationProofOf(raw);
    const link = await initiateSecureLink(raw, { ...this.handshake, rotationProof }, signal);
    return await beginOn(link, request(), signal);
  }
}

/** Has the exit begin or resume a session on a link whose keys stand. */
export async function beginOn(link: SecureLink, request: SessionRequest, signal: AbortSignal): Promise<SessionLink> {
  return { link, peerReceived: await requestSession(link, request, signal), saidReceived: request.received };
}

/** Raw links to the exit of an invite. */
function wayTo(
  dialer: TicketDialer,
  destination: string,
  { encryption, logger, tether }: { encryption: Encryption; logger: Logger; tether?: TetherOptions | undefined },
): LinkWay {
  const direct = new DirectWay(dialer, destination, encryption === 'on');
  if (tether === undefined) return direct;
  const byPage = new TetherWay(dialer, destination, tether.pages);
  return tether.direct ? new PreferredWay(direct, byPage, logger, { movesBack: true }) : byPage;
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
