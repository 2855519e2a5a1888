import packet from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { answerTo, neutralAnswer } from '../../src/dns/answer.ts';
import { AnswerCache } from '../../src/dns/answer-cache.ts';
import { forwarded, type Judged, judge } from '../../src/dns/query.ts';
import { answer, decode, edns, query } from '../support/dns-messages.ts';

type Ask = Extract<Judged, { kind: 'ask' }>;

function asked(message: Uint8Array): Ask {
  const judged = judge(message);
  if (judged.kind !== 'ask') throw new Error(judged.kind);
  return judged;
}

function rcodeOf(message: Uint8Array): string {
  const judged = judge(message);
  if (judged.kind !== 'answer') return judged.kind;
  return decode(judged.answer).rcode ?? '';
}

const txt = (name: string, bytes: number): packet.Answer => ({
  ...{ type: 'TXT', name, ttl: 60 },
  data: Array.from({ length: Math.ceil(bytes / 250) }, () => 'x'.repeat(250)),
});

/** What the program gets of an answer with these records. */
function toProgram(asks: Uint8Array, records: packet.Answer[], over: 'udp' | 'tcp' = 'udp', ageS = 0) {
  const { query: program } = asked(asks);
  const neutral = neutralAnswer(
    answer(forwarded(program, 1), records, { additionals: [edns(4096)] }),
    program.question,
  );
  if (neutral === undefined) throw new Error('not taken as an answer');
  return answerTo(program, neutral, { ageS, over });
}

describe('judge', () => {
  it('judge asks for every type of record', () => {
    for (const type of ['A', 'AAAA', 'TXT', 'PTR', 'MX', 'SRV', 'NS', 'SOA', 'CNAME', 'CAA', 'DS'])
      expect(judge(query('a.example', type)).kind).toBe('ask');
    const https = query('a.example', 'A');
    https[https.length - 3] = 65;
    expect(asked(https).query.question.type).toBe(65);
  });

  it('judge takes queries as the same whatever the case of letters, but not of another type or for DNSSEC', () => {
    const key = asked(query('a.Example', 'A')).key;
    expect(asked(query('A.eXample', 'A', { id: 1 })).key).toBe(key);
    expect(asked(query('a.example', 'A', { additionals: [edns()] })).key).toBe(key);
    expect(asked(query('a.example', 'AAAA')).key).not.toBe(key);
    const dnssec = asked(query('a.example', 'A', { additionals: [edns(1232, packet.DNSSEC_OK)] }));
    expect(dnssec.key).not.toBe(key);
    expect(asked(query('a.example', 'A', { flags: packet.CHECKING_DISABLED })).key).not.toBe(key);
  });

  it('judge drops answers and what has no whole header', () => {
    expect(judge(answer(query('a.example', 'A'), [])).kind).toBe('drop');
    expect(judge(new Uint8Array(11)).kind).toBe('drop');
  });

  it('judge answers FORMERR to what is malformed', () => {
    const whole = query('a.example', 'A');
    for (let length = 12; length < whole.length; length++) expect(rcodeOf(whole.subarray(0, length))).toBe('FORMERR');
    expect(rcodeOf(Buffer.concat([whole, Buffer.of(0)]))).toBe('FORMERR');
    const { questions = [] } = packet.decode(whole);
    expect(rcodeOf(query('a.example', 'A', { questions: [...questions, ...questions] }))).toBe('FORMERR');
    expect(rcodeOf(query('a.example', 'A', { additionals: [edns(), edns()] }))).toBe('FORMERR');
    expect(rcodeOf(query('a.example', 'A', { answers: [txt('a.example', 1)] }))).toBe('FORMERR');
  });

  it('judge answers NOTIMP to updates, transfers and classes other than IN', () => {
    expect(rcodeOf(query('a.example', 'A', { flags: 5 << 11 }))).toBe('NOTIMP');
    expect(rcodeOf(query('a.example', 'AXFR'))).toBe('NOTIMP');
    const chaos = query('version.bind', 'TXT');
    chaos[chaos.length - 1] = 3;
    expect(rcodeOf(chaos)).toBe('NOTIMP');
  });

  it('judge answers ANY with one record (RFC 8482), and a later version of EDNS with BADVERS', () => {
    const any = judge(query('a.example', 'ANY', { additionals: [edns()] }));
    const message = any.kind === 'answer' ? decode(any.answer) : undefined;
    expect(message?.answers).toMatchObject([{ type: 'HINFO', name: 'a.example', data: { cpu: 'RFC8482', os: '' } }]);
    const later = judge(query('a.example', 'A', { additionals: [{ ...edns(), ednsVersion: 1 }] }));
    const refused = later.kind === 'answer' ? decode(later.answer) : undefined;
    expect(refused?.additionals).toMatchObject([{ type: 'OPT', extendedRcode: 1 }]);
  });

  it('judge answers for localhost itself, and asks for other names that look like it', () => {
    for (const [name, type, data] of [
      ['localhost', 'A', '127.0.0.1'],
      ['Some.LocalHost', 'AAAA', '::1'],
      ['localhost', 'MX', undefined],
    ] as const) {
      const judged = judge(query(name, type));
      const { answers = [], rcode } = judged.kind === 'answer' ? decode(judged.answer) : {};
      expect([rcode, answers.map((record) => 'data' in record && record.data)]).toEqual([
        'NOERROR',
        data ? [data] : [],
      ]);
    }
    for (const name of ['localhost.example', 'notlocalhost', 'my-localhost'])
      expect(judge(query(name, 'A')).kind).toBe('ask');
  });

  it('judge returns for any bytes, and each of its answers is well-formed and has the id of the query', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 12, maxLength: 80 }), (bytes) => {
        const judged = judge(bytes);
        if (judged.kind === 'answer') expect(decode(judged.answer).id).toBe(bytes[0]! * 256 + bytes[1]!);
      }),
    );
  });
});

describe('answerTo', () => {
  const record: packet.Answer = { type: 'A', name: 'a.example', ttl: 60, data: '192.0.2.1' };

  it('answerTo gives each program its own id and spelling, and the answer to all of them', () => {
    const message = decode(toProgram(query('A.exAmple', 'A', { id: 99 }), [record]));
    expect(message.id).toBe(99);
    expect(message.questions).toMatchObject([{ name: 'A.exAmple', type: 'A' }]);
    expect(message.answers).toMatchObject([{ type: 'A', data: '192.0.2.1', ttl: 60 }]);
    expect(message).toMatchObject({ flag_qr: true, flag_aa: false, flag_rd: true, flag_ra: true });
  });

  it('answerTo has OPT only where the program has sent one', () => {
    expect(decode(toProgram(query('a.example', 'A'), [record])).additionals).toEqual([]);
    const message = decode(toProgram(query('a.example', 'A', { additionals: [edns()] }), [record]));
    expect(message.additionals).toMatchObject([{ type: 'OPT', udpPayloadSize: 1232 }]);
  });

  it('answerTo truncates over UDP what is longer than 512 bytes, or than the program allows', () => {
    const plain = query('a.example', 'TXT');
    const large = query('a.example', 'TXT', { additionals: [edns(1400)] });
    const short = decode(toProgram(plain, [txt('a.example', 600)]));
    expect(short).toMatchObject({ flag_tc: true, answers: [] });
    expect(decode(toProgram(large, [txt('a.example', 600)]))).toMatchObject({ flag_tc: false });
    expect(decode(toProgram(large, [txt('a.example', 1500)]))).toMatchObject({ flag_tc: true });
    expect(decode(toProgram(plain, [txt('a.example', 60_000)], 'tcp'))).toMatchObject({ flag_tc: false });
  });

  it('answerTo leaves what was kept as it is', () => {
    const kept = answer(query('a.example', 'A'), [record]);
    const before = Buffer.from(kept);
    answerTo(asked(query('A.EXAMPLE', 'A', { id: 7 })).query, kept, { ageS: 9, over: 'udp' });
    expect(kept).toEqual(before);
  });

  it('answerTo lowers the TTLs of what was kept', () => {
    const kept = decode(toProgram(query('a.example', 'A'), [record], 'udp', 45));
    expect(kept.answers).toMatchObject([{ ttl: 15 }]);
  });

  it('neutralAnswer rejects answers to another question, and keeps only the code of a failure', () => {
    const { query: program } = asked(query('a.example', 'A'));
    const neutral = (message: Uint8Array) => neutralAnswer(message, program.question);
    expect(neutral(answer(query('b.example', 'A'), [record]))).toBeUndefined();
    expect(neutral(answer(query('a.example', 'AAAA'), [record]))).toBeUndefined();
    expect(neutral(query('a.example', 'A'))).toBeUndefined();
    const refused = neutral(answer(query('a.example', 'A'), [], {}, 5));
    const told = refused && decode(answerTo(program, refused, { ageS: 0, over: 'udp' }));
    expect(told).toMatchObject({ rcode: 'REFUSED', questions: [{ name: 'a.example' }] });
  });
});

describe('AnswerCache', () => {
  const keptOf = (name: string, ttl: number) => answer(query(name, 'A'), [{ type: 'A', name, ttl, data: '192.0.2.1' }]);

  it('AnswerCache keeps an answer for its TTL and tells its age', () => {
    const cache = new AnswerCache();
    cache.put('a', keptOf('a.example', 2), 1000);
    expect(cache.get('a', 2999)).toMatchObject({ ageS: 1 });
    expect(cache.get('a', 3000)).toBeUndefined();
    expect(cache.size).toBe(0);
  });

  it('AnswerCache never has more entries or bytes than it may, and keeps what was used last', () => {
    const use = fc.record({
      key: fc.nat(20),
      isPut: fc.boolean(),
      name: fc.constantFrom('a.example', 'abcdefghijkl.example'),
    });
    fc.assert(
      fc.property(fc.array(use, { maxLength: 100 }), (uses) => {
        const cache = new AnswerCache({ entries: 5, bytes: 200 });
        for (const { key, isPut, name } of uses) {
          if (isPut) {
            cache.put(`${key}`, keptOf(name, 60), 0);
            expect(cache.get(`${key}`, 0)).toBeDefined();
          } else cache.get(`${key}`, 0);
          expect(cache.size).toBeLessThanOrEqual(5);
          expect(cache.bytes).toBeLessThanOrEqual(200);
        }
      }),
    );
  });
});
