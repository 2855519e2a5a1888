import { describe, expect, it } from 'vitest';
import type { CipherSuite } from '../../src/crypto/aead.ts';
import { HandshakeState } from '../../src/crypto/noise.ts';
import { x25519 } from '../../src/crypto/x25519.ts';
import { WstunError } from '../../src/errors.ts';
import { LOW_ORDER_POINTS } from '../support/crypto/low-order-points.ts';
import {
  createParties,
  EMPTY,
  exchange,
  optionsOf,
  type Parties,
  SUITES,
  withEphemeral,
} from '../support/crypto/noise.ts';

const PAYLOADS = [EMPTY, Buffer.from('second'), Buffer.from('third')];

/** Everything that a caller can see of why a message was refused; undefined if it was taken. */
function refusal(read: () => unknown): object | undefined {
  try {
    read();
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    const { fault, detail, message, cause } = error;
    return { fault, detail, message, cause };
  }
  return undefined;
}

const REFUSED = refusal(() => {
  throw new WstunError('handshake-failed');
});

/** A reader at the point where the message of that number (0, 1, 2) comes. */
function readerBefore(index: number, suite: CipherSuite): HandshakeState {
  const parties = createParties(suite);
  for (let at = 0; at < index; at++) {
    const [writer, reader] =
      at % 2 === 0 ? [parties.initiator, parties.responder] : [parties.responder, parties.initiator];
    reader.readMessage(writer.writeMessage(PAYLOADS[at] ?? EMPTY));
  }
  return index === 1 ? parties.initiator : parties.responder;
}

/** The number (1, 2, 3) of the message that its reader refuses; undefined if none is. */
function failsAt({ initiator, responder }: Parties): number | undefined {
  const steps = [
    [initiator, responder],
    [responder, initiator],
    [initiator, responder],
  ] as const;
  for (const [index, [writer, reader]] of steps.entries()) {
    const message = writer.writeMessage(PAYLOADS[index] ?? EMPTY);
    const why = refusal(() => reader.readMessage(message));
    if (why !== undefined) {
      expect(why).toEqual(REFUSED);
      return index + 1;
    }
  }
  return undefined;
}

/** Refused like all others, and over: neither another message nor a result comes of it. */
function expectDead(reader: HandshakeState, bad: Uint8Array, good: Uint8Array): void {
  expect(refusal(() => reader.readMessage(bad))).toEqual(REFUSED);
  expect(refusal(() => reader.readMessage(good))).toEqual(REFUSED);
  expect(refusal(() => reader.writeMessage(EMPTY))).toEqual(REFUSED);
  expect(() => reader.finish()).toThrow('not completed');
}

describe.each(SUITES)('a handshake with %s, tampered with', (suite) => {
  const messages = exchange(createParties(suite), PAYLOADS);

  it.each([0, 1, 2])('a handshake rejects message %i (counted from 0) with any bit flipped', (index) => {
    const good = messages[index] ?? EMPTY;
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = Uint8Array.from(good);
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expectDead(readerBefore(index, suite), bad, good);
    }
    expect(refusal(() => readerBefore(index, suite).readMessage(good))).toBeUndefined();
  });

  it.each([0, 1, 2])('a handshake rejects message %i cut anywhere, or with a byte more', (index) => {
    const good = messages[index] ?? EMPTY;
    for (let length = 0; length < good.length; length++) {
      expectDead(readerBefore(index, suite), good.subarray(0, length), good);
    }
    expectDead(readerBefore(index, suite), Buffer.concat([good, Buffer.alloc(1)]), good);
    expectDead(readerBefore(index, suite), Buffer.alloc(65_536), good);
  });

  it.each([0, 1])('a handshake rejects every low-order point as the ephemeral key of message %i', (index) => {
    const good = messages[index] ?? EMPTY;
    for (const point of LOW_ORDER_POINTS) {
      expectDead(readerBefore(index, suite), Buffer.concat([Buffer.from(point, 'hex'), good.subarray(32)]), good);
    }
  });

  it.each(['initiator', 'responder'] as const)(
    'a handshake rejects another encoding of the ephemeral key of the %s',
    (role) => {
      const pair = x25519.generateKeyPair();
      const other = { ...pair, publicKey: Uint8Array.from(pair.publicKey).with(31, (pair.publicKey[31] ?? 0) | 0x80) };
      const withOther = new HandshakeState(optionsOf(role, suite), { dh: withEphemeral(other) });
      expect(failsAt({ ...createParties(suite), [role]: withOther })).toBe(role === 'initiator' ? 1 : 2);
    },
  );

  it.each(['initiator', 'responder'] as const)(
    'a handshake accepts the canonical encoding of the ephemeral key of the %s',
    (role) => {
      const withPair = new HandshakeState(optionsOf(role, suite), { dh: withEphemeral(x25519.generateKeyPair()) });
      expect(failsAt({ ...createParties(suite), [role]: withPair })).toBeUndefined();
    },
  );

  it.each([0, 1, 2])('a handshake rejects any other of its messages in place of message %i', (index) => {
    for (const [other, message] of messages.entries()) {
      if (other !== index) expectDead(readerBefore(index, suite), message, messages[index] ?? EMPTY);
    }
  });
});

describe.each(SUITES)('handshakes of parties that do not belong together, with %s', (suite) => {
  const stranger = x25519.generateKeyPair();

  it('a handshake succeeds when nothing is wrong', () => {
    expect(failsAt(createParties(suite))).toBeUndefined();
  });

  it('a handshake fails at message 1 if the initiator has another key pinned', () => {
    expect(failsAt(createParties(suite, { initiator: { rs: stranger.publicKey } }))).toBe(1);
  });

  it('a handshake fails at message 1 if the responder has only the public key', () => {
    const { s } = optionsOf('responder', suite);
    expect(failsAt(createParties(suite, { responder: { s: { ...stranger, publicKey: s.publicKey } } }))).toBe(1);
  });

  it.each([
    ['another byte', Buffer.from('agreed outsidE')],
    ['a byte less', Buffer.from('agreed outsid')],
    ['nothing', EMPTY],
  ])('a handshake fails at message 1 if one party has %s in the prologue', (_name, prologue) => {
    expect(failsAt(createParties(suite, { initiator: { prologue } }))).toBe(1);
    expect(failsAt(createParties(suite, { responder: { prologue } }))).toBe(1);
  });

  it('a handshake fails at message 1 if the parties use different ciphers', () => {
    const other = suite === 'AESGCM' ? 'ChaChaPoly' : 'AESGCM';
    expect(failsAt(createParties(suite, { responder: { suite: other } }))).toBe(1);
  });

  it('a handshake fails at message 2 if someone else answers, who saw all of message 1', () => {
    const { initiator } = createParties(suite);
    initiator.writeMessage(EMPTY);
    const imposter = createParties(suite, { initiator: { rs: stranger.publicKey }, responder: { s: stranger } });
    imposter.responder.readMessage(imposter.initiator.writeMessage(EMPTY));
    expect(refusal(() => initiator.readMessage(imposter.responder.writeMessage(EMPTY)))).toEqual(REFUSED);
  });

  it("a handshake fails at message 3 if the initiator has only the public half of another's key", () => {
    const { s } = optionsOf('initiator', suite);
    expect(failsAt(createParties(suite, { initiator: { s: { ...stranger, publicKey: s.publicKey } } }))).toBe(3);
  });

  it('a handshake fails if both parties have the same role', () => {
    const [one, other] = [createParties(suite), createParties(suite)];
    expect(refusal(() => other.initiator.readMessage(one.initiator.writeMessage(EMPTY)))).toEqual(REFUSED);
    expect(refusal(() => one.responder.writeMessage(EMPTY))).toEqual(REFUSED);
  });

  it('a handshake fails when a message comes out of turn', () => {
    const { initiator, responder } = createParties(suite);
    const first = initiator.writeMessage(EMPTY);
    responder.readMessage(first);
    expect(refusal(() => responder.readMessage(first))).toEqual(REFUSED);
    expect(refusal(() => initiator.writeMessage(EMPTY))).toEqual(REFUSED);
  });
});

describe.each(SUITES)('messages replayed from another handshake of the same parties, with %s', (suite) => {
  const [oldFirst = EMPTY, oldSecond = EMPTY, oldThird = EMPTY] = exchange(createParties(suite), PAYLOADS);

  it('a replayed message 1 is accepted, which proves nothing, and a replayed message 3 is rejected', () => {
    const responder = new HandshakeState(optionsOf('responder', suite));
    responder.readMessage(oldFirst);
    responder.writeMessage(EMPTY);
    expect(refusal(() => responder.readMessage(oldThird))).toEqual(REFUSED);
  });

  it('a replayed message 2 is rejected', () => {
    const initiator = new HandshakeState(optionsOf('initiator', suite));
    initiator.writeMessage(EMPTY);
    expect(refusal(() => initiator.readMessage(oldSecond))).toEqual(REFUSED);
  });
});
