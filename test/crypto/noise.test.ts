import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { CipherSuite } from '../../src/crypto/aead.ts';
import { HandshakeState, MAX_HANDSHAKE_PAYLOAD_BYTES } from '../../src/crypto/noise.ts';
import { REKEY_RECORDS, RecordOpener, RecordSealer } from '../../src/crypto/record-cipher.ts';
import { type DhFunctions, importKeyPair, x25519 } from '../../src/crypto/x25519.ts';
import {
  createParties,
  EMPTY,
  establish,
  exchange,
  optionsOf,
  type Parties,
  SUITES,
  withEphemeral,
} from '../support/crypto/noise.ts';
import { tweetnaclX25519 } from '../support/crypto/x25519-tweetnacl.ts';

type Role = keyof Parties;

interface Vector {
  readonly suite: CipherSuite;
  readonly prologue: string;
  readonly secrets: Readonly<Record<`${Role} ${'s' | 'e'}`, string>>;
  readonly messages: readonly { readonly payload: string; readonly message: string }[];
  readonly handshakeHash: string;
  readonly keys: Readonly<Record<Role, string>>;
  readonly records: readonly {
    readonly from: Role;
    readonly n: number;
    readonly plaintext: string;
    readonly record: string;
  }[];
}

const VECTORS = JSON.parse(readFileSync(new URL('vectors/noise-xk.json', import.meta.url), 'utf8')).vectors as Vector[];

const bytes = (hex: string) => Buffer.from(hex, 'hex');
const hex = (parts: Uint8Array | readonly Uint8Array[]) =>
  Buffer.concat(parts instanceof Uint8Array ? [parts] : parts).toString('hex');

function partiesOf(vector: Vector, dh: DhFunctions): Parties {
  const { suite, secrets } = vector;
  const prologue = bytes(vector.prologue);
  const [si, sr] = [importKeyPair(bytes(secrets['initiator s'])), importKeyPair(bytes(secrets['responder s']))];
  const seam = (role: Role) => ({ dh: withEphemeral(importKeyPair(bytes(secrets[`${role} e`])), dh) });
  return {
    initiator: new HandshakeState({ role: 'initiator', suite, prologue, s: si, rs: sr.publicKey }, seam('initiator')),
    responder: new HandshakeState({ role: 'responder', suite, prologue, s: sr }, seam('responder')),
  };
}

describe.each(VECTORS)('Noise XK $suite, against vectors on which two other implementations agree', (vector) => {
  it.each([
    ['node:crypto', x25519],
    ['tweetnacl', tweetnaclX25519],
  ])('a handshake writes and reads the three messages of the vector, with X25519 by %s', (_name, dh) => {
    const { initiator, responder } = partiesOf(vector, dh);
    for (const [index, { payload, message }] of vector.messages.entries()) {
      const [writer, reader] = index % 2 === 0 ? [initiator, responder] : [responder, initiator];
      expect(hex(writer.writeMessage(bytes(payload)))).toBe(message);
      expect(hex(reader.readMessage(bytes(message)))).toBe(payload);
    }
    const ends = [initiator.finish(), responder.finish()];
    expect(ends.map((end) => hex(end.handshakeHash))).toEqual([vector.handshakeHash, vector.handshakeHash]);
  });

  it('a handshake gives record ciphers that seal and open the records of the vector', () => {
    const parties = partiesOf(vector, x25519);
    exchange(
      parties,
      vector.messages.map(({ payload }) => bytes(payload)),
    );
    const ends = { initiator: parties.initiator.finish(), responder: parties.responder.finish() };
    for (const { from, plaintext, record } of vector.records.filter(({ n }) => n < 2)) {
      expect(hex(ends[from].sealer.seal([bytes(plaintext)]))).toBe(record);
      const to = from === 'initiator' ? ends.responder : ends.initiator;
      expect(hex(to.opener.open([bytes(record)]) ?? [])).toBe(plaintext);
    }
  });

  it.each(['initiator', 'responder'] as const)(
    'a handshake gives record ciphers of the %s that rekey as in the vector',
    (role) => {
      const key = bytes(vector.keys[role]);
      const sealer = new RecordSealer(vector.suite, key, REKEY_RECORDS - 1);
      const opener = new RecordOpener(vector.suite, key, REKEY_RECORDS - 1);
      const records = vector.records.filter(({ from, n }) => from === role && n > 1);
      expect(records.map(({ n }) => n)).toEqual([REKEY_RECORDS - 1, REKEY_RECORDS, REKEY_RECORDS + 1]);
      for (const { plaintext, record } of records) {
        expect(hex(sealer.seal([bytes(plaintext)]))).toBe(record);
        expect(hex(opener.open([bytes(record)]) ?? [])).toBe(plaintext);
      }
    },
  );
});

describe.each(SUITES)('a handshake with %s', (suite) => {
  it('a handshake gives each end the key of the other, the same hash and matching record ciphers', () => {
    const { initiator, responder } = establish(suite);
    expect(hex(initiator.remoteStatic)).toBe(hex(optionsOf('responder', suite).s.publicKey));
    expect(hex(responder.remoteStatic)).toBe(hex(optionsOf('initiator', suite).s.publicKey));
    expect(hex(initiator.handshakeHash)).toBe(hex(responder.handshakeHash));
    expect(hex(responder.opener.open(initiator.sealer.seal([Buffer.from('up')])) ?? [])).toBe(hex(Buffer.from('up')));
    expect(hex(initiator.opener.open(responder.sealer.seal([Buffer.from('down')])) ?? [])).toBe(
      hex(Buffer.from('down')),
    );
  });

  it('a handshake uses a new ephemeral key each time, on either side', () => {
    const runs = [0, 1].map(() => {
      const parties = {
        initiator: new HandshakeState(optionsOf('initiator', suite)),
        responder: new HandshakeState(optionsOf('responder', suite)),
      };
      return exchange(parties).map((message) => hex(message.subarray(0, 32)));
    });
    expect(runs[0]?.[0]).not.toBe(runs[1]?.[0]);
    expect(runs[0]?.[1]).not.toBe(runs[1]?.[1]);
  });

  it('a handshake carries payloads up to the limit of a Noise message and no more', () => {
    const payload = Buffer.alloc(MAX_HANDSHAKE_PAYLOAD_BYTES, 7);
    const { initiator, responder } = createParties(suite);
    expect(() => initiator.writeMessage(Buffer.alloc(MAX_HANDSHAKE_PAYLOAD_BYTES + 1))).toThrow(RangeError);
    const [first = EMPTY, , third = EMPTY] = exchange({ initiator, responder }, [payload, payload, payload]);
    expect([first.length, third.length]).toEqual([65_535 - 48, 65_535 - 32]);
  });

  it('a handshake copies what it keeps of a message, which may change later', () => {
    const { initiator, responder } = createParties(suite);
    const first = initiator.writeMessage(EMPTY);
    responder.readMessage(first);
    first.fill(0);
    initiator.readMessage(responder.writeMessage(EMPTY));
    responder.readMessage(initiator.writeMessage(EMPTY));
    expect(hex(initiator.finish().handshakeHash)).toBe(hex(responder.finish().handshakeHash));
  });

  it('a handshake shows no secret to inspectors and JSON, before and after', () => {
    const { initiator } = createParties(suite);
    initiator.writeMessage(EMPTY);
    const { sealer, opener } = establish(suite).initiator;
    for (const object of [initiator, sealer, opener]) {
      expect(JSON.stringify(object)).toBe('{}');
      expect(inspect(object, { showHidden: true, depth: 9 })).toMatch(/^\w+ \{\}$/);
    }
  });
});

describe('HandshakeState', () => {
  it.each([
    ['an initiator without a pin', { ...optionsOf('responder', 'AESGCM'), role: 'initiator' as const }],
    ['a responder with one', { ...optionsOf('initiator', 'AESGCM'), role: 'responder' as const }],
    ['a pin that is too short', { ...optionsOf('initiator', 'AESGCM'), rs: new Uint8Array(31) }],
  ])('HandshakeState rejects %s', (_name, options) => {
    expect(() => new HandshakeState(options)).toThrow(TypeError);
  });

  it('HandshakeState has no result before the last message, nor a second time', () => {
    const parties = createParties('AESGCM');
    expect(() => parties.initiator.finish()).toThrow('not completed');
    exchange(parties);
    parties.initiator.finish();
    expect(() => parties.initiator.finish()).toThrow('not completed');
  });
});
