import packet from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { framed, MessageReader } from '../../src/dns/framing.ts';
import { age, lifetimeOf, MAX_NEGATIVE_TTL_S, MAX_TTL_S } from '../../src/dns/lifetime.ts';
import { readQuestion, readRecords } from '../../src/dns/wire.ts';
import { answer, decode, edns, query, soa } from '../support/dns-messages.ts';

const a = (ttl: number, name = 'a.example', data = '192.0.2.1'): packet.Answer => ({ type: 'A', name, ttl, data });

describe('MessageReader', () => {
  it('MessageReader finds the same messages wherever a stream is cut', () => {
    const messages = fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 6 });
    fc.assert(
      fc.property(messages, fc.array(fc.nat(400), { maxLength: 40 }), (sent, cuts) => {
        const stream = Buffer.concat(sent.map(framed));
        const reader = new MessageReader();
        const got: Uint8Array[] = [];
        let at = 0;
        for (const cut of [...cuts, stream.length]) {
          got.push(...reader.receive(stream.subarray(at, at + cut)));
          at += cut;
        }
        expect(got.map((message) => Buffer.from(message))).toEqual(sent.map((message) => Buffer.from(message)));
      }),
    );
  });
});

describe('MessageReader and memory', () => {
  it('MessageReader keeps nothing of the bytes that it was given, a Buffer of whole messages or a part of one', () => {
    const reader = new MessageReader();
    const stream = Buffer.concat([framed(Buffer.from('first')), framed(Buffer.from('second'))]);
    const pieces = [stream.subarray(0, 10), stream.subarray(10)];
    const messages = pieces.flatMap((piece) => {
      const got = reader.receive(piece);
      piece.fill(0xee);
      return got;
    });
    expect(messages.map((message) => Buffer.from(message).toString())).toEqual(['first', 'second']);
  });
});

describe('readRecords', () => {
  it('readRecords finds every record of an answer with compressed names', () => {
    const asked = query('www.example.org', 'A');
    const message = answer(asked, [a(60, 'www.example.org'), a(30, 'example.org')], { additionals: [edns()] });
    expect(readRecords(message)?.map(({ section, type, ttl }) => [section, type, ttl])).toEqual([
      ['answer', 1, 60],
      ['answer', 1, 30],
      ['additional', 41, 0],
    ]);
  });

  it('readRecords and readQuestion return for any bytes, and name no byte beyond them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.nat(3), (bytes, count) => {
        const message = Uint8Array.from([0, 1, 0, 0, 0, 1, 0, count, 0, count, 0, count, ...bytes]);
        const question = readQuestion(message);
        if (question !== undefined) expect(question.end).toBeLessThanOrEqual(message.length);
        for (const { end } of readRecords(message) ?? []) expect(end).toBeLessThanOrEqual(message.length);
      }),
    );
  });

  it('readRecords rejects a message that was cut anywhere', () => {
    const message = answer(query('a.example', 'A'), [a(60)], { authorities: [soa('example', 10, 10)] });
    for (let length = 0; length < message.length; length++)
      expect(readRecords(message.subarray(0, length))).toBeUndefined();
    expect(readRecords(Buffer.concat([message, Buffer.of(0)]))).toBeUndefined();
  });

  it('readQuestion reads names in lower case, and rejects one that is compressed or longer than 255 bytes', () => {
    expect(readQuestion(query('WwW.Example', 'A'))?.name).toBe('\u0003www\u0007example\0');
    expect(readQuestion(Buffer.from('000000000001000000000000c00c00010001', 'hex'))).toBeUndefined();
    const label = [63, ...Buffer.alloc(63, 'a')];
    const long = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...label, ...label, ...label, ...label, 0, 0, 1, 0, 1];
    expect(readQuestion(Uint8Array.from(long))).toBeUndefined();
  });
});

describe('lifetimeOf', () => {
  const asked = query('a.example', 'A');
  const none = (ttl: number, minimum: number, rcode: number) =>
    answer(asked, [], { authorities: [soa('example', ttl, minimum)] }, rcode);

  it('lifetimeOf an answer is its smallest TTL, at most a day', () => {
    expect(lifetimeOf(answer(asked, [a(60), a(20)]))).toBe(20);
    expect(lifetimeOf(answer(asked, [a(0x7fffffff)]))).toBe(MAX_TTL_S);
    expect(lifetimeOf(answer(asked, [a(0x80000000)]))).toBe(0);
    expect(lifetimeOf(answer(asked, [a(60)], { additionals: [edns()] }))).toBe(60);
  });

  it('lifetimeOf NXDOMAIN and of no such record is what the zone says: the smaller of TTL and minimum of its SOA', () => {
    for (const rcode of [0, 3]) {
      expect(lifetimeOf(none(900, 300, rcode))).toBe(300);
      expect(lifetimeOf(none(200, 300, rcode))).toBe(200);
      expect(lifetimeOf(none(999_999, 999_999, rcode))).toBe(MAX_NEGATIVE_TTL_S);
      expect(lifetimeOf(answer(asked, [], {}, rcode))).toBe(0);
    }
  });

  it('lifetimeOf an alias that leads to no record is that of the alias, or less', () => {
    const alias: packet.Answer = { type: 'CNAME', name: 'a.example', ttl: 50, data: 'b.example' };
    expect(lifetimeOf(answer(asked, [alias], { authorities: [soa('example', 900, 300)] }))).toBe(50);
    expect(lifetimeOf(answer(asked, [alias]))).toBe(0);
  });

  it('lifetimeOf SERVFAIL is a second, and of REFUSED, truncated and malformed answers nothing', () => {
    expect(lifetimeOf(answer(asked, [], {}, 2))).toBe(1);
    expect(lifetimeOf(answer(asked, [], {}, 5))).toBe(0);
    expect(lifetimeOf(answer(asked, [a(60)]).subarray(0, -1))).toBe(0);
    const cut = answer(asked, [a(60)]);
    cut[2] = (cut[2] ?? 0) | 2;
    expect(lifetimeOf(cut)).toBe(0);
  });

  it('age lowers every TTL, not below 0, and leaves OPT alone', () => {
    const message = answer(asked, [a(60), a(5)], { additionals: [edns(1232, packet.DNSSEC_OK)] });
    age(message, 10);
    const { answers = [], additionals = [] } = decode(message);
    expect(answers.map((record) => 'ttl' in record && record.ttl)).toEqual([50, 0]);
    expect(additionals[0]).toMatchObject({ udpPayloadSize: 1232, flag_do: true });
  });
});
