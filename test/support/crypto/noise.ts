/** Two parties of a Noise handshake, with random keys or with those of a vector. */
import type { CipherSuite } from '../../../src/crypto/aead.ts';
import {
  type HandshakeOptions,
  type HandshakeResult,
  type HandshakeRole,
  HandshakeState,
} from '../../../src/crypto/noise.ts';
import { type DhFunctions, type DhKeyPair, importKeyPair, x25519 } from '../../../src/crypto/x25519.ts';

export const SUITES: readonly CipherSuite[] = ['ChaChaPoly', 'AESGCM'];
export const EMPTY = new Uint8Array(0);

export interface Parties {
  readonly initiator: HandshakeState;
  readonly responder: HandshakeState;
}

const initiatorStatic = x25519.generateKeyPair();
const responderStatic = x25519.generateKeyPair();
const ephemerals = {
  initiator: importKeyPair(Buffer.alloc(32, 0x11)),
  responder: importKeyPair(Buffer.alloc(32, 0x22)),
};

/** A DH whose next ephemeral is known: the same handshake gives the same bytes again. */
export function withEphemeral(pair: DhKeyPair, dh: DhFunctions = x25519): DhFunctions {
  return { dh: (keyPair, publicKey) => dh.dh(keyPair, publicKey), generateKeyPair: () => pair };
}

/** What both agree on unless a test says otherwise. */
export function optionsOf(role: HandshakeRole, suite: CipherSuite): HandshakeOptions {
  const shared = { role, suite, prologue: Buffer.from('agreed outside') };
  return role === 'initiator'
    ? { ...shared, s: initiatorStatic, rs: responderStatic.publicKey }
    : { ...shared, s: responderStatic };
}

/** With the same ephemerals every time. */
export function createParties(suite: CipherSuite, changes: Partial<Record<keyof Parties, object>> = {}): Parties {
  const create = (role: keyof Parties) =>
    new HandshakeState({ ...optionsOf(role, suite), ...changes[role] }, { dh: withEphemeral(ephemerals[role]) });
  return { initiator: create('initiator'), responder: create('responder') };
}

/** Runs the three messages and returns them. */
export function exchange({ initiator, responder }: Parties, payloads: readonly Uint8Array[] = []): Uint8Array[] {
  const first = initiator.writeMessage(payloads[0] ?? EMPTY);
  responder.readMessage(first);
  const second = responder.writeMessage(payloads[1] ?? EMPTY);
  initiator.readMessage(second);
  const third = initiator.writeMessage(payloads[2] ?? EMPTY);
  responder.readMessage(third);
  return [first, second, third];
}

/** A completed handshake with fresh ephemerals, as both ends see it. */
export function establish(suite: CipherSuite): { initiator: HandshakeResult; responder: HandshakeResult } {
  const initiator = new HandshakeState(optionsOf('initiator', suite));
  const responder = new HandshakeState(optionsOf('responder', suite));
  exchange({ initiator, responder });
  return { initiator: initiator.finish(), responder: responder.finish() };
}
