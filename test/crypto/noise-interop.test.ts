import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { CipherSuite } from '../../src/crypto/aead.ts';
import { type HandshakePattern, HandshakeState } from '../../src/crypto/noise.ts';
import { importKeyPair } from '../../src/crypto/x25519.ts';
import { EMPTY, SUITES } from '../support/crypto/noise.ts';
import { loadNoiseC, type NoiseCHandshake } from '../support/crypto/noise-c.ts';

const noiseC = await loadNoiseC();

const XK: HandshakePattern = {
  name: 'XK',
  preMessages: ['responder'],
  messages: [
    ['e', 'es'],
    ['e', 'ee'],
    ['s', 'se'],
  ],
};
/**
 * §7.5, where both static keys are known in the end. wstun speaks XK alone; that the others work too proves the rules.
 */
const OTHER_PATTERNS: readonly HandshakePattern[] = [
  { name: 'XX', preMessages: [], messages: [['e'], ['e', 'ee', 's', 'es'], ['s', 'se']] },
  {
    name: 'IK',
    preMessages: ['responder'],
    messages: [
      ['e', 'es', 's', 'ss'],
      ['e', 'ee', 'se'],
    ],
  },
  {
    name: 'KK',
    preMessages: ['initiator', 'responder'],
    messages: [
      ['e', 'es', 'ss'],
      ['e', 'ee', 'se'],
    ],
  },
  { name: 'KX', preMessages: ['initiator'], messages: [['e'], ['e', 'ee', 'se', 's', 'es']] },
];
const PAYLOAD_BYTES = [0, 1, 31, 32, 33, 1000, 65_000];
const RECORDS = 40;

interface Case {
  readonly pattern: HandshakePattern;
  readonly suite: CipherSuite;
  readonly weBegin: boolean;
  readonly payloadBytes: number;
}

/** Writes each message on one side, reads it on the other, and checks what was read. */
function exchangeWith(ours: HandshakeState, theirs: NoiseCHandshake, { pattern, weBegin, payloadBytes }: Case): void {
  for (const index of pattern.messages.keys()) {
    const payload = randomBytes(payloadBytes);
    const weWrite = weBegin === (index % 2 === 0);
    const read = weWrite
      ? theirs.ReadMessage(ours.writeMessage(payload), true)
      : ours.readMessage(theirs.WriteMessage(payload));
    expect(Buffer.from(read).equals(payload)).toBe(true);
  }
}

/** A handshake of random keys, then records both ways. */
function meet(it: Case): void {
  const { pattern, suite, weBegin } = it;
  const [secret, theirSecret, prologue] = [randomBytes(32), randomBytes(32), randomBytes(20)];
  const [s, theirPublicKey] = [importKeyPair(secret), importKeyPair(theirSecret).publicKey];
  const role = weBegin ? 'initiator' : 'responder';
  const weKnowThem = pattern.preMessages.some((owner) => owner !== role);
  const theyKnowUs = pattern.preMessages.includes(role);
  const options = { role, suite, prologue, s, ...(weKnowThem ? { rs: theirPublicKey } : {}) } as const;
  const ours = new HandshakeState(options, pattern === XK ? {} : { pattern });
  const theirRole = weBegin ? noiseC.constants.NOISE_ROLE_RESPONDER : noiseC.constants.NOISE_ROLE_INITIATOR;
  const theirs = noiseC.HandshakeState(`Noise_${pattern.name}_25519_${suite}_SHA256`, theirRole);
  theirs.Initialize(prologue, theirSecret, theyKnowUs ? s.publicKey : null);
  exchangeWith(ours, theirs, it);

  const result = ours.finish();
  expect(Buffer.from(result.handshakeHash)).toEqual(Buffer.from(theirs.GetHandshakeHash()));
  expect(Buffer.from(result.remoteStatic)).toEqual(Buffer.from(theirPublicKey));
  expect(Buffer.from(theirs.GetRemotePublicKey() ?? EMPTY)).toEqual(Buffer.from(s.publicKey));

  const [sending, receiving] = theirs.Split();
  for (let n = 0; n < RECORDS; n++) {
    const plaintext = randomBytes(n * 7);
    const record = Buffer.concat(result.sealer.seal([plaintext.subarray(0, n), plaintext.subarray(n)]));
    expect(Buffer.from(receiving.DecryptWithAd(EMPTY, record))).toEqual(plaintext);
    const opened = result.opener.open([Buffer.from(sending.EncryptWithAd(EMPTY, plaintext))]);
    expect(Buffer.concat(opened ?? [Buffer.from('dead')])).toEqual(plaintext);
  }
  sending.free();
  receiving.free();
}

describe.each(SUITES)('with noise-c at the other end, Noise XK and %s', (suite) => {
  it.each(PAYLOAD_BYTES)(
    'a handshake with noise-c succeeds in both roles, with payloads of %i bytes and 40 records each way',
    (payloadBytes) => {
      meet({ pattern: XK, suite, weBegin: true, payloadBytes });
      meet({ pattern: XK, suite, weBegin: false, payloadBytes });
    },
  );

  it.each(OTHER_PATTERNS)('a handshake with noise-c succeeds in both roles with the pattern $name', (pattern) => {
    meet({ pattern, suite, weBegin: true, payloadBytes: 10 });
    meet({ pattern, suite, weBegin: false, payloadBytes: 10 });
  });
});
