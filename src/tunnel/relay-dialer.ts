/** Opens links for a client's sessions: to the exit of an invite, at its relays in turn, sealed. */
import type { Invite } from '../crypto/invite.ts';
import { preferredSuite } from '../crypto/suite-choice.ts';
import { importKeyPair } from '../crypto/x25519.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { SessionRequest } from '../protocol/session-request.ts';
import { type Encryption, type InitiatorOptions, initiateSecureLink } from './handshake.ts';
import type { SecureLink } from './secure-link.ts';
import type { SessionDialer, SessionLink } from './session-keeper.ts';
import { requestSession } from './session-link.ts';
import { TicketDialer } from './ticket-dialer.ts';

export class RelayDialer implements SessionDialer {
  private readonly dialer: TicketDialer;
  private readonly destination: string;
  private readonly handshake: InitiatorOptions;

  /** Whether encryption may be off is for the caller to check: `requireTls`. */
  constructor(invite: Invite, encryption: Encryption, logger: Logger) {
    this.dialer = new TicketDialer(invite, logger);
    this.destination = invite.exitName ?? '';
    this.handshake = {
      keys: importKeyPair(invite.bearer.exposeSessionKey()),
      exitKey: invite.exitSessionKey,
      suite: preferredSuite(() => performance.now()),
      encryption,
    };
  }

  async dial(request: () => SessionRequest, signal: AbortSignal): Promise<SessionLink> {
    // Masks keep a page's script from forging plain text on the wire (RFC 6455 §10.3): sealed records are no one's plain text.
    const mask = this.handshake.encryption === 'on' ? ({ mask: 'zero' } as const) : {};
    const place = { role: 'client', destination: this.destination } as const;
    const raw = await this.dialer.dial(this.dialer.nextRelay(), place, { signal, ...mask });
    const rotationProof = this.dialer.rotationProofOf(raw);
    const link = await initiateSecureLink(raw, { ...this.handshake, rotationProof }, signal);
    return await beginOn(link, request(), signal);
  }
}

/** Has the exit begin or resume a session on a link whose keys stand. */
export async function beginOn(link: SecureLink, request: SessionRequest, signal: AbortSignal): Promise<SessionLink> {
  return { link, peerReceived: await requestSession(link, request, signal), saidReceived: request.received };
}

/** Unsealed records are for TLS that ends where the exit is. @throws WstunError encryption-needed where others could read them */
export function requireTls(invite: Invite): void {
  if (invite.exitName !== undefined)
    throw new WstunError('encryption-needed', 'this invite leads to an exit behind the relay');
  const plain = invite.relayUrls.some((url) => !url.startsWith('wss:'));
  if (plain) throw new WstunError('encryption-needed', 'the relay is reached without TLS (ws://)');
}
