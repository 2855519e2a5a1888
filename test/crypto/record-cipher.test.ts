import { createCipheriv, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CipherSuite } from '../../src/crypto/aead.ts';
import {
  MAX_RECORD_PLAINTEXT_BYTES,
  REKEY_RECORDS,
  RecordOpener,
  RecordSealer,
} from '../../src/crypto/record-cipher.ts';
import { SUITES } from '../support/crypto/noise.ts';
import { faultOf } from '../support/faults.ts';

const KEY = Buffer.alloc(32, 0x42);
const LAST_NONCE = Number.MAX_SAFE_INTEGER;
/** Around the length below which neighbours are joined, and around the blocks of both ciphers. */
const pieceLength = fc.oneof(
  fc.constantFrom(0, 1, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097),
  fc.integer({ min: 0, max: 6000 }),
);

/** A second opinion: one call, the nonce by BigInt, the tag behind. */
function sealNaively(suite: CipherSuite, key: Uint8Array, n: bigint, plaintext: Uint8Array): Buffer {
  const nonce = Buffer.alloc(12);
  const tagLength = { authTagLength: 16 };
  if (suite === 'ChaChaPoly') nonce.writeBigUInt64LE(n, 4);
  else nonce.writeBigUInt64BE(n, 4);
  const cipher =
    suite === 'ChaChaPoly'
      ? createCipheriv('chacha20-poly1305', key, nonce, tagLength)
      : createCipheriv('aes-256-gcm', key, nonce, tagLength);
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function rekeyNaively(suite: CipherSuite, key: Uint8Array): Buffer {
  return sealNaively(suite, key, 2n ** 64n - 1n, Buffer.alloc(32)).subarray(0, 32);
}

function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const length of lengths) {
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return [...pieces, bytes.subarray(at)];
}

const join = (pieces: readonly Uint8Array[] | undefined) => (pieces === undefined ? undefined : Buffer.concat(pieces));

function opens(opener: RecordOpener, record: Uint8Array): string | undefined {
  return join(opener.open([record]))?.toString('latin1');
}

describe.each(SUITES)('records of %s', (suite) => {
  const sealAll = (texts: readonly string[], key: Uint8Array = KEY) => {
    const sealer = new RecordSealer(suite, key);
    return texts.map((text) => Buffer.concat(sealer.seal([Buffer.from(text, 'latin1')])));
  };

  it('a record is what one call of the cipher makes, and opens, however plaintext and record are cut', () => {
    fc.assert(
      fc.property(
        fc.array(pieceLength, { maxLength: 8 }),
        fc.array(pieceLength, { maxLength: 8 }),
        (sealed, opened) => {
          const plaintext = randomBytes(
            Math.min(
              MAX_RECORD_PLAINTEXT_BYTES,
              sealed.reduce((sum, n) => sum + n, 0),
            ),
          );
          const record = Buffer.concat(new RecordSealer(suite, KEY).seal(cut(plaintext, sealed)));
          expect(record.equals(sealNaively(suite, KEY, 0n, plaintext))).toBe(true);
          expect(join(new RecordOpener(suite, KEY).open(cut(record, opened)))?.equals(plaintext)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('a record opens with its tag cut at any byte', () => {
    const record = sealAll(['text before the tag'])[0] ?? Buffer.alloc(0);
    for (let at = 0; at <= record.length; at++) {
      expect(join(new RecordOpener(suite, KEY).open(cut(record, [at])))?.toString()).toBe('text before the tag');
    }
    expect(join(new RecordOpener(suite, KEY).open(cut(record, Array(record.length).fill(1))))?.length).toBe(19);
  });

  it('a record does not change the pieces it was made of, and shares no memory with them', () => {
    const plaintext = randomBytes(10_000);
    const before = Buffer.from(plaintext);
    const record = new RecordSealer(suite, KEY).seal([plaintext]);
    expect(plaintext.equals(before)).toBe(true);
    const sealed = Buffer.concat(record);
    const opened = join(new RecordOpener(suite, KEY).open(record));
    expect(Buffer.concat(record).equals(sealed)).toBe(true);
    for (const piece of record) piece.fill(0);
    expect(opened?.equals(before)).toBe(true);
  });

  it('a record holds 0 to 65,519 bytes; a longer plaintext uses no nonce up', () => {
    const [sealer, opener] = [new RecordSealer(suite, KEY), new RecordOpener(suite, KEY)];
    expect(join(opener.open(sealer.seal([])))?.length).toBe(0);
    const longest = sealer.seal([Buffer.alloc(8), Buffer.alloc(MAX_RECORD_PLAINTEXT_BYTES - 8)]);
    expect(Buffer.concat(longest).length).toBe(65_535);
    expect(join(opener.open(longest))?.length).toBe(MAX_RECORD_PLAINTEXT_BYTES);
    expect(() => sealer.seal([Buffer.alloc(MAX_RECORD_PLAINTEXT_BYTES + 1)])).toThrow(RangeError);
    expect(opens(opener, Buffer.concat(sealer.seal([Buffer.from('next')])))).toBe('next');
  });

  it('a record over 65,535 bytes does not open, even from a sender with the key', () => {
    const atTheLimit = sealNaively(suite, KEY, 0n, Buffer.alloc(MAX_RECORD_PLAINTEXT_BYTES));
    const over = sealNaively(suite, KEY, 0n, Buffer.alloc(MAX_RECORD_PLAINTEXT_BYTES + 1));
    expect(new RecordOpener(suite, KEY).open([atTheLimit])).toBeDefined();
    expect(new RecordOpener(suite, KEY).open([over])).toBeUndefined();
  });

  it.each([0n, 1n, 255n, 256n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 32n + 1n, 2n ** 48n + 5n, BigInt(LAST_NONCE)])(
    'a record has nonce %i in the encoding of the specification',
    (n) => {
      const record = Buffer.concat(new RecordSealer(suite, KEY, Number(n)).seal([Buffer.from('text')]));
      expect(record).toEqual(sealNaively(suite, KEY, n, Buffer.from('text')));
      expect(opens(new RecordOpener(suite, KEY, Number(n)), record)).toBe('text');
    },
  );

  it('records end with the last nonce: the sender gets an error, and no nonce comes twice', () => {
    const [sealer, opener] = [new RecordSealer(suite, KEY, LAST_NONCE), new RecordOpener(suite, KEY, LAST_NONCE)];
    expect(opens(opener, Buffer.concat(sealer.seal([Buffer.from('last')])))).toBe('last');
    for (let again = 0; again < 3; again++) {
      expect(faultOf(() => sealer.seal([]))).toBe('link-lost');
      expect(opener.open([randomBytes(16)])).toBeUndefined();
    }
  });

  it('records continue under a new key after every 2^16, with the next nonce', () => {
    const [sealer, opener] = [new RecordSealer(suite, KEY), new RecordOpener(suite, KEY)];
    let last = Buffer.alloc(0);
    for (let n = 0; n < REKEY_RECORDS; n++) {
      last = Buffer.concat(sealer.seal([]));
      if (opener.open([last]) === undefined) throw new Error(`record ${n}`);
    }
    expect(last).toEqual(sealNaively(suite, KEY, BigInt(REKEY_RECORDS - 1), Buffer.alloc(0)));
    const next = Buffer.concat(sealer.seal([Buffer.from('new key')]));
    const newKey = rekeyNaively(suite, KEY);
    expect(next).toEqual(sealNaively(suite, newKey, BigInt(REKEY_RECORDS), Buffer.from('new key')));
    expect(opens(opener, next)).toBe('new key');
  });

  it('records of a sender that has not rekeyed do not open', () => {
    const opener = new RecordOpener(suite, KEY, REKEY_RECORDS - 1);
    const n = BigInt(REKEY_RECORDS);
    expect(opens(opener, sealNaively(suite, KEY, n - 1n, Buffer.from('in time')))).toBe('in time');
    expect(opener.open([sealNaively(suite, KEY, n, Buffer.from('late'))])).toBeUndefined();
  });

  it('records are rekeyed at every multiple of 2^16', () => {
    const sealer = new RecordSealer(suite, KEY, 5 * REKEY_RECORDS - 1);
    sealer.seal([]);
    const newKey = rekeyNaively(suite, KEY);
    expect(Buffer.concat(sealer.seal([]))).toEqual(
      sealNaively(suite, newKey, BigInt(5 * REKEY_RECORDS), Buffer.alloc(0)),
    );
  });

  it('a record with any bit flipped does not open, nor does any after it', () => {
    const [bad = Buffer.alloc(0), next = Buffer.alloc(0)] = sealAll(['some text', 'more']);
    for (let bit = 0; bit < bad.length * 8; bit++) {
      const flipped = Buffer.from(bad);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const opener = new RecordOpener(suite, KEY);
      expect(opener.open([flipped])).toBeUndefined();
      expect(opener.open([bad])).toBeUndefined();
      expect(opener.open([next])).toBeUndefined();
    }
  });

  it('a record that is cut, lengthened, or shorter than a tag does not open', () => {
    const [good = Buffer.alloc(0)] = sealAll(['some text']);
    const cuts = Array.from({ length: good.length }, (_, length) => good.subarray(0, length));
    for (const bad of [...cuts, Buffer.concat([good, Buffer.alloc(1)]), Buffer.alloc(65_536)]) {
      const opener = new RecordOpener(suite, KEY);
      expect(opener.open([bad])).toBeUndefined();
      expect(opener.open([good])).toBeUndefined();
    }
  });

  it('a record does not open at its sender, in another session, or under the other cipher', () => {
    const [record = Buffer.alloc(0)] = sealAll(['text']);
    const otherSuite = suite === 'AESGCM' ? 'ChaChaPoly' : 'AESGCM';
    expect(new RecordOpener(suite, Buffer.alloc(32, 0x43)).open([record])).toBeUndefined();
    expect(new RecordOpener(otherSuite, KEY).open([record])).toBeUndefined();
  });

  it('records arrive as a prefix of what was sent, whatever someone drops, repeats, swaps, alters or inserts', () => {
    const texts = Array.from({ length: 6 }, (_, index) => `record ${index}`);
    const [ours, foreign] = [sealAll(texts), sealAll(texts, Buffer.alloc(32, 0x43))];
    const source = fc.record({ from: fc.constantFrom(ours, ours, ours, foreign), index: fc.nat({ max: 5 }) });
    fc.assert(
      fc.property(fc.nat({ max: 6 }), fc.array(source, { maxLength: 8 }), (honest, tail) => {
        const arriving = [...ours.slice(0, honest), ...tail.map(({ from, index }) => from[index] ?? Buffer.alloc(0))];
        const firstBad = arriving.findIndex((record, position) => record !== ours[position]);
        const expected = texts.slice(0, firstBad === -1 ? arriving.length : firstBad);
        const opener = new RecordOpener(suite, KEY);
        const outcome = arriving.map((record) => opens(opener, record));
        expect(outcome).toEqual(arriving.map((_, position) => expected[position]));
      }),
      { numRuns: 150 },
    );
  });
});

describe('record ciphers', () => {
  it('record ciphers need keys of 32 bytes', () => {
    for (const length of [0, 31, 33]) {
      expect(() => new RecordSealer('AESGCM', new Uint8Array(length))).toThrow(RangeError);
      expect(() => new RecordOpener('ChaChaPoly', new Uint8Array(length))).toThrow(RangeError);
    }
  });
});
