/**
 * Makes a SecureLink of a link: the Noise handshake between client and exit, and what both agree on before it
 * (docs/protocol.md §2.4). Knows keys; whether the peer of a key may connect is asked of the caller.
 *
 * On any failure the link is aborted without a reason: anyone in between only learns that it did not work.
 */
import { type Clock, systemClock } from '../../clock.ts';
import type { CipherSuite } from '../../crypto/aead.ts';
import { type HandshakeResult, HandshakeState } from '../../crypto/noise.ts';
import type { DhKeyPair } from '../../crypto/x25519.ts';
import { FAULTS, faultOfSessionCode, WstunError } from '../../errors.ts';
import { PROTOCOL_VERSION } from '../../protocol/frames.ts';
import type { Message, MessageLink } from '../../transport/message-link.ts';
import { LinkExchange } from './link-exchange.ts';
import { SecureLink } from './secure-link.ts';

/** From the open link to the session's keys. */
const HANDSHAKE_LIMIT_MS = 10_000;
/** Noise's own messages have 49 to 65 bytes here; the rest is room for payloads of later versions. */
const MAX_HANDSHAKE_MESSAGE_BYTES = 4_096;

/** The first byte of every message before the keys are agreed on: a notice of the relay, or a handshake message. */
const NOTICE = 0x00;
const HANDSHAKE = 0x01;
/** Type, version, suite, features (2), encryption: before the first Noise message. */
const HEADER_BYTES = 6;
const SUITE_CODE: Readonly<Record<CipherSuite, number>> = { ChaChaPoly: 1, AESGCM: 2 };

/** `off`: both ends prove themselves, then records travel unsealed, for links that TLS protects as far as the exit. */
export type Encryption = 'on' | 'off';

const EMPTY = new Uint8Array(0);

export interface InitiatorOptions {
  readonly keys: DhKeyPair;
  /** The exit's session public key, 32 bytes: the pin of the invite. */
  readonly exitKey: Uint8Array;
  readonly suite: CipherSuite;
  readonly encryption: Encryption;
  /** By which the relay can prove that its keys were rotated (`TicketDialer.rotationProofOf`). */
  readonly rotationProof?: Uint8Array | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * The client's side; takes the link's handler. The result's handler is to be set in the turn in which it resolves.
 * Rejects, with the link aborted: `handshake-failed`, `link-slow`, `dial-cancelled`, or what the relay says.
 */
export function initiateSecureLink(
  link: MessageLink,
  { keys, exitKey, suite, encryption, rotationProof, clock }: InitiatorOptions,
  signal: AbortSignal,
): Promise<SecureLink> {
  return new Promise((resolve, reject) => {
    const header = encodeHeader(suite, encryption);
    const noise = new HandshakeState({ role: 'initiator', suite, prologue: prologueOf(header), s: keys, rs: exitKey });
    const step: HandshakeStep = (type, body) => {
      if (type === NOTICE) throw faultOfNotice(body, rotationProof);
      if (type !== HANDSHAKE) throw new WstunError('handshake-failed');
      noise.readMessage(body);
      link.send([Uint8Array.of(HANDSHAKE), noise.writeMessage(EMPTY)]);
      // What throws here must find the time limit still armed.
      const secured = secure(link, noise.finish(), encryption);
      exchange.succeed();
      resolve(secured);
    };
    const exchange = beginHandshake(link, { clock, signal, step, onFailed: reject });
    if (!exchange.isOver) link.send([header, noise.writeMessage(EMPTY)]);
  });
}

export interface ResponderOptions {
  readonly keys: DhKeyPair;
  /** The peer with this session public key, 32 bytes; undefined if it may not connect. */
  readonly peerOf: (sessionKey: Uint8Array) => string | undefined;
  /** Whether `encryption: 'off'` may be agreed on. */
  readonly allowUnsealed: boolean;
  /** Keys that this exit had before: a client that pins one still completes a handshake, and is told. */
  readonly retired?: readonly RetiredResponder[];
  readonly clock?: Clock | undefined;
}

export type RetiredResponder = Pick<ResponderOptions, 'keys' | 'peerOf'>;

export interface ResponderEvents {
  /** In the turn of the last handshake message; the link's handler is to be set in it. */
  onSecured(link: SecureLink, peer: string, sessionKey: Uint8Array): void;
  /** Instead, where the client pins a key that is retired (needed with `retired`): all that may follow is to say so. */
  onRetired?(link: SecureLink, peer: string): void;
  /** Once, instead. The link is aborted. */
  onFailed(error: WstunError): void;
}

/** The exit's side; takes the link's handler. */
export function acceptSecureLink(link: MessageLink, options: ResponderOptions, events: ResponderEvents): void {
  let offer: Offer | undefined;
  const step: HandshakeStep = (type, body, message) => {
    if (type !== HANDSHAKE) throw new WstunError('handshake-failed');
    if (offer === undefined) {
      offer = readOffer(message, options);
      link.send([Uint8Array.of(HANDSHAKE), offer.noise.writeMessage(EMPTY)]);
      return;
    }
    offer.noise.readMessage(body);
    const result = offer.noise.finish();
    const peer = (offer.retired ?? options).peerOf(result.remoteStatic);
    if (peer === undefined) throw new WstunError('handshake-failed');
    const secured = secure(link, result, offer.encryption);
    exchange.succeed();
    if (offer.retired === undefined) events.onSecured(secured, peer, result.remoteStatic);
    else events.onRetired?.(secured, peer);
  };
  const exchange = beginHandshake(link, { clock: options.clock, step, onFailed: events.onFailed });
}

interface Offer {
  readonly noise: HandshakeState;
  readonly encryption: Encryption;
  /** Undefined for the current keys. */
  readonly retired: RetiredResponder | undefined;
}

function readOffer(message: Buffer, { keys, allowUnsealed, retired = [] }: ResponderOptions): Offer {
  const header = message.subarray(0, HEADER_BYTES);
  const suite = header[2] === SUITE_CODE.AESGCM ? 'AESGCM' : 'ChaChaPoly';
  const encryption = header[5] === 0 ? 'off' : 'on';
  // Only in the form that this version writes.
  const known = header.equals(encodeHeader(suite, encryption)) && (encryption === 'on' || allowUnsealed);
  if (!known) throw new WstunError('handshake-failed');
  for (const candidate of [undefined, ...retired]) {
    const s = (candidate ?? { keys }).keys;
    const noise = new HandshakeState({ role: 'responder', suite, prologue: prologueOf(header), s });
    // Which key the client pins shows in whether the first message can be read: it has no other sign.
    if (reads(noise, message.subarray(HEADER_BYTES))) return { noise, encryption, retired: candidate };
  }
  throw new WstunError('handshake-failed');
}

function reads(noise: HandshakeState, message: Uint8Array): boolean {
  try {
    noise.readMessage(message);
    return true;
  } catch {
    return false;
  }
}

/** All that is agreed on outside Noise. It is part of the prologue, so a change of it breaks the first message. */
function encodeHeader(suite: CipherSuite, encryption: Encryption): Buffer {
  return Buffer.from([HANDSHAKE, PROTOCOL_VERSION, SUITE_CODE[suite], 0, 0, encryption === 'off' ? 0 : 1]);
}

function prologueOf(header: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('wstun/1\0'), header]);
}

/** Nothing is proved yet: a notice only says why to try again. Only a rotation of keys comes with a proof. */
function faultOfNotice(body: Buffer, rotationProof: Uint8Array | undefined): WstunError {
  const fault = body.length >= 2 ? faultOfSessionCode(body.readUInt16BE(0)) : 'handshake-failed';
  const proof = body.subarray(2);
  if (fault === 'keys-rotated' && rotationProof !== undefined && proof.equals(rotationProof))
    return new WstunError(fault);
  if (proof.length > 0) return new WstunError('handshake-failed');
  // An unknown code is decoded as the session's end; there is no session to end here.
  const isReason = FAULTS[fault].class === 'network' && fault !== 'session-closed';
  return new WstunError(isReason ? fault : 'handshake-failed');
}

type HandshakeStep = (type: number, body: Buffer, message: Buffer) => void;

interface HandshakeOptions {
  readonly clock: Clock | undefined;
  readonly signal?: AbortSignal;
  /** Takes each message; what it throws ends the handshake. */
  readonly step: HandshakeStep;
  readonly onFailed: (error: WstunError) => void;
}

function beginHandshake(link: MessageLink, options: HandshakeOptions): LinkExchange {
  const { clock = systemClock, signal, step, onFailed } = options;
  const onMessage = (pieces: Message): void => {
    try {
      const message = wholeMessage(pieces);
      step(message[0] ?? NOTICE, message.subarray(1), message);
    } catch (error) {
      exchange.fail(error instanceof WstunError ? error : new WstunError('handshake-failed'));
    }
  };
  // An exit that rejects what it reads ends the link without a reason.
  const faultOfClose = (): WstunError => new WstunError('handshake-failed');
  const exchange = new LinkExchange(
    link,
    { clock, signal, limitMs: HANDSHAKE_LIMIT_MS },
    { onMessage, onFailed, faultOfClose },
  );
  return exchange;
}

/** Not with the result as it is: its hash and key would live as long as the link. */
function secure(link: MessageLink, { sealer, opener }: HandshakeResult, encryption: Encryption): SecureLink {
  return new SecureLink(link, encryption === 'off' ? undefined : { sealer, opener });
}

function wholeMessage(pieces: Message): Buffer {
  const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (bytes < 1 || bytes > MAX_HANDSHAKE_MESSAGE_BYTES) throw new WstunError('handshake-failed');
  return Buffer.concat(pieces);
}
