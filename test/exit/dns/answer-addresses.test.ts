import type packet from 'dns-packet';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readQuestion } from '../../../src/dns/wire.ts';
import { addressesIn } from '../../../src/exit/dns/answer-addresses.ts';
import { decideName, nameOf } from '../../../src/exit/dns/question-policy.ts';
import { formatIp, parseIp } from '../../../src/net/ip.ts';
import { answer, query } from '../../support/dns-messages.ts';

/** As dns-packet can read it: some spellings of zeros it cannot. */
const ip = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map(formatIp);

it('addressesIn finds every address of an answer that dns-packet has written, and no other', () => {
  fc.assert(
    fc.property(fc.array(ip, { maxLength: 20 }), fc.array(ip, { maxLength: 5 }), (answers, additionals) => {
      const record = (data: string): packet.Answer => ({ type: data.includes(':') ? 'AAAA' : 'A', name: 'a.b', data });
      const txt: packet.Answer = { type: 'TXT', name: 'a.b', data: ['10.0.0.1'] };
      const message = answer(query('a.b', 'A'), [...answers.map(record), txt], {
        additionals: additionals.map(record),
      });
      const expected = [...answers, ...additionals].map((text) => formatIp(parseIp(text)!));
      expect(addressesIn(message)?.map(formatIp)).toEqual(expected);
    }),
  );
});

it('addressesIn says nothing of any bytes that are no answer, and never throws', () => {
  const whole = answer(query('a.b', 'A'), [{ type: 'A', name: 'a.b', data: '1.1.1.1' }]);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat({ max: whole.length - 1 }), (bytes, cut) => {
      addressesIn(bytes);
      expect(addressesIn(whole.subarray(0, cut))?.length ?? 0).toBe(0);
    }),
  );
});

it('nameOf gives the name of a question as text', () => {
  for (const name of ['a.example.org', '_x._tcp.example.org', 'org', '.'])
    expect(nameOf(readQuestion(query(name, 'A'))!)).toBe(name === '.' ? '' : name);
});

it('decideName decides about any text', () => {
  fc.assert(
    fc.property(fc.string(), fc.constantFrom('', '.in-addr.arpa', '.ip6.arpa'), (text, tail) => {
      expect(decideName(text + tail, []).isVouched).toBe(false);
    }),
  );
  expect(decideName('', [])).toEqual({ isAllowed: true, isVouched: false });
  expect(decideName('in-addr.arpa', [])).toEqual({ isAllowed: true, isVouched: false });
});
