/** Every test vector of docs/tether-protocol.md, appendix A, checked with the code that page and laptop run. */
import { createHmac } from 'node:crypto';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { decodeLaptopMessage, decodePageMessage, encodeMessage } from '../../../src/tether/shared/messages.ts';
import {
  answerPairing,
  beginPairing,
  MESSAGE,
  Seal,
  secretFromText,
  secretId,
  secretToText,
} from '../../../src/tether/shared/pairing.ts';
import { readVectors } from '../../support/mux/vectors.ts';

const { bytes, text, unused } = readVectors('docs/tether-protocol.md');

const hex = (data: Uint8Array | undefined): string => Buffer.from(data ?? []).toString('hex');
const keyPair = (name: string) => nacl.box.keyPair.fromSecretKey(Uint8Array.from(bytes(name)));

describe('appendix A of the tether protocol', () => {
  it('the secret of the test vectors has the text and the identifier of the document', () => {
    expect(secretToText(bytes('tether.secret'))).toBe(text('tether.secret.text'));
    expect(hex(secretFromText(text('tether.secret.text')))).toBe(hex(bytes('tether.secret')));
    expect(hex(secretId(bytes('tether.secret')))).toBe(hex(bytes('tether.id')));
  });

  it('page and laptop pair with the messages and keys of the test vectors', () => {
    const [secret, host] = [bytes('tether.secret'), text('tether.host.text')];
    const page = beginPairing(secret, host, keyPair('tether.page.ephemeral.private'));
    expect(hex(page.hello)).toBe(hex(bytes('tether.hello')));
    const laptop = answerPairing(page.hello, secret, host, keyPair('tether.laptop.ephemeral.private'));
    expect(hex(laptop.answer)).toBe(hex(bytes('tether.answer')));
    expect(hex(page.prove(bytes('tether.answer')))).toBe(hex(bytes('tether.page-proof')));
    const checked = laptop.check(bytes('tether.page-proof'));
    expect(hex(checked?.proof)).toBe(hex(bytes('tether.laptop-proof')));
    const keys = page.finish(bytes('tether.laptop-proof'));
    expect(keys).toEqual(checked?.keys);
    expect(hex(keys?.pageSeal)).toBe(hex(bytes('tether.page-seal')));
    expect(hex(keys?.laptopSeal)).toBe(hex(bytes('tether.laptop-seal')));
    expect(hex(keys?.rejoin)).toBe(hex(bytes('tether.rejoin')));
    expect(hex(Uint8Array.of(MESSAGE.refusal))).toBe(hex(bytes('tether.refusal')));
  });

  it('the proofs of the test vectors are made from their P', () => {
    const P = bytes('tether.P');
    const seal = (label: string) => createHmac('sha512', P).update(label).digest().subarray(0, 32);
    expect(hex(seal('page proof'))).toBe(hex(bytes('tether.page-proof').subarray(1)));
    expect(hex(seal('laptop seal'))).toBe(hex(bytes('tether.laptop-seal')));
  });

  it.each(['page', 'laptop'])(
    'the control messages of the %s in the test vectors are sealed and opened in order',
    (side) => {
      const [to, from] = [new Seal(bytes(`tether.${side}-seal`)), new Seal(bytes(`tether.${side}-seal`))];
      for (const n of [0, 1]) {
        const content = text(`tether.${side}.${n}.text`);
        expect(hex(to.seal(Uint8Array.from(Buffer.from(content))))).toBe(hex(bytes(`tether.${side}.${n}`)));
        expect(Buffer.from(from.open(Uint8Array.from(bytes(`tether.${side}.${n}`))) ?? []).toString()).toBe(content);
      }
    },
  );

  it.each(['tether.page.0.text', 'tether.page.1.text', 'tether.message.failed.text'])(
    'the test vector %s is a message of a page',
    (name) => {
      const message = decodePageMessage(Buffer.from(text(name)));
      expect(message && Buffer.from(encodeMessage(message)).toString()).toBe(text(name));
    },
  );

  it.each(['tether.laptop.0.text', 'tether.laptop.1.text', 'tether.message.open.text', 'tether.message.replaced.text'])(
    'the test vector %s is a message of a laptop',
    (name) => {
      const message = decodeLaptopMessage(Buffer.from(text(name)));
      expect(message && Buffer.from(encodeMessage(message)).toString()).toBe(text(name));
    },
  );

  it('every test vector of the tether protocol is used', () => {
    expect(unused()).toEqual([]);
  });
});
