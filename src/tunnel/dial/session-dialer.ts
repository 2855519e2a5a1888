/** Opens links for a client's sessions: to the exit of an invite, at its relays in turn, sealed. */
import type { Invite } from '../../crypto/invite.ts';
import { preferredSuite } from '../../crypto/suite-choice.ts';
import { importKeyPair } from '../../crypto/x25519.ts';
import { type FaultName, WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import type { SessionRequest } from '../../protocol/session-request.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import {
  type Connector,
  type ConnectorChoice,
  DirectConnector,
  type PageDialer,
  PreferredConnector,
  SingleConnector,
  TetherConnector,
} from './connectors.ts';
import { type Encryption, type InitiatorOptions, initiateSecureLink } from './handshake.ts';
import type { SecureLink } from './secure-link.ts';
import { requestSession } from './session-exchange.ts';
import { TicketDialer } from './ticket-dialer.ts';

/** A session at the exit, by a link that carries it from now on. */
export interface SessionLink {
  /** Its handler is to be set in the turn in which it is handed out. */
  readonly link: MessageLink;
  /** Numbered records of ours that the exit has. */
  readonly peerReceived: number;
  /** What the request said. */
  readonly saidReceived: number;
  /** Where there is a better way than the one that brought it. */
  readonly better?: SessionDialer;
}

export interface SessionDialer {
  /**
   * Dials once. `request` is asked for when the keys of the link stand: so late that it says what has come until then.
   * @throws WstunError as dialWebSocket, initiateSecureLink, requestSession
   */
  dial(request: () => SessionRequest, signal: AbortSignal): Promise<SessionLink>;
}

export interface TetherOptions {
  readonly pages: PageDialer;
  /** Also dial from here, and prefer that while it works. */
  readonly direct: boolean;
}

/**
 * For the answer on a link by a better way: until it is here, what comes on the old link is not acknowledged, and comes
 * to a halt.
 */
const BETTER_ANSWER_MS = 3_000;

/** A link whose keys stand was lost, or brought nothing in time: what the exit refuses is sealed. */
const SILENCE: ReadonlySet<FaultName> = new Set<FaultName>(['link-lost', 'link-slow']);

export class RelaySessionDialer implements SessionDialer {
  private readonly way: ConnectorChoice<SecureLink>;

  /**
   * Whether encryption may be off is for the caller to check: `refuseUnsealed`. @param tether links may be carried by
   * pages
   */
  constructor(invite: Invite, encryption: Encryption, logger: Logger, tether?: TetherOptions) {
    const dialer = new TicketDialer(invite, logger);
    const handshake = {
      keys: importKeyPair(invite.peer.exposeSessionKey()),
      exitKey: invite.exitSessionKey,
      suite: preferredSuite(() => performance.now()),
      encryption,
    };
    this.way = wayTo(dialer, invite.exitName ?? '', { handshake, logger, tether });
  }

  dial(request: () => SessionRequest, signal: AbortSignal): Promise<SessionLink> {
    return dialSession(this.way, request, signal);
  }
}

async function dialSession(
  way: ConnectorChoice<SecureLink>,
  request: () => SessionRequest,
  signal: AbortSignal,
  answerMs?: number,
): Promise<SessionLink> {
  const { link, better, doubt } = await way.dial(signal);
  try {
    const begun = await beginOn(link, request(), signal, answerMs);
    if (better === undefined) return begun;
    return { ...begun, better: { dial: (ask, stop) => dialSession(better, ask, stop, BETTER_ANSWER_MS) } };
  } catch (error) {
    if (error instanceof WstunError && SILENCE.has(error.fault)) doubt?.();
    throw error;
  }
}

/**
 * Has the exit begin or resume a session on a link whose keys stand. @param answerMs limit; default as of
 * requestSession
 */
export async function beginOn(
  link: SecureLink,
  request: SessionRequest,
  signal: AbortSignal,
  answerMs?: number,
): Promise<SessionLink> {
  return { link, peerReceived: await requestSession(link, request, signal, answerMs), saidReceived: request.received };
}

interface WayOptions {
  readonly handshake: InitiatorOptions;
  readonly logger: Logger;
  readonly tether: TetherOptions | undefined;
}

/** Sealed links to the exit of an invite. */
function wayTo(
  dialer: TicketDialer,
  destination: string,
  { handshake, logger, tether }: WayOptions,
): ConnectorChoice<SecureLink> {
  const direct = new SealedConnector(
    new DirectConnector(dialer, destination, handshake.encryption === 'on'),
    dialer,
    handshake,
  );
  if (tether === undefined) return new SingleConnector(direct);
  const byPage = new SealedConnector(new TetherConnector(dialer, destination, tether.pages), dialer, handshake);
  return tether.direct ? new PreferredConnector(direct, byPage, logger) : new SingleConnector(byPage);
}

/**
 * The handshake belongs to the way: there are networks that carry an upgrade and nothing behind it, and only what the
 * exit proves shows that a way leads there.
 */
class SealedConnector implements Connector<SecureLink> {
  private readonly way: Connector;
  private readonly dialer: TicketDialer;
  private readonly handshake: InitiatorOptions;

  constructor(way: Connector, dialer: TicketDialer, handshake: InitiatorOptions) {
    this.way = way;
    this.dialer = dialer;
    this.handshake = handshake;
  }

  get canBeAsked(): boolean {
    return this.way.canBeAsked;
  }

  async dial(signal: AbortSignal): Promise<SecureLink> {
    const raw = await this.way.dial(signal);
    const rotationProof = this.dialer.rotationProofOf(raw);
    return await initiateSecureLink(raw, { ...this.handshake, rotationProof }, signal);
  }
}

/**
 * Unsealed records are for TLS that ends where the exit is.
 * @param tethered pages may carry the links
 * @throws WstunError encryption-needed where others could read them
 */
export function refuseUnsealed(invite: Invite, tethered: boolean): void {
  if (tethered) throw new WstunError('encryption-needed', 'the phone could read the data (--tether)');
  if (invite.exitName !== undefined)
    throw new WstunError(
      'encryption-needed',
      'this invite is for an exit behind the relay, and the relay could read the data',
    );
  const plain = invite.relayUrls.some((url) => !url.startsWith('wss:'));
  if (plain) throw new WstunError('encryption-needed', 'the relay is reached without TLS (ws://)');
}
