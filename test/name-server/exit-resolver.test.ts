import packet from 'dns-packet';
import { describe, expect, it } from 'vitest';
import { type Asked, judge } from '../../src/dns/query.ts';
import { Answerer, MAX_WAITING } from '../../src/name-server/answerer.ts';
import { ANSWER_LIMIT_MS, ExitResolver, MAX_QUESTIONS } from '../../src/name-server/exit-resolver.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { answer, decode, query, soa } from '../support/dns-messages.ts';
import { FakeResolver } from '../support/proxy/fake-tunnel.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const record = (name: string, ttl = 60): packet.Answer => ({ type: 'A', name, ttl, data: '192.0.2.1' });
const answering = (asked: Buffer) => answer(asked, [record(packet.decode(asked).questions?.[0]?.name ?? '')]);

function start(answers: FakeResolver['answers'] = answering) {
  const clock = new VirtualClock();
  const opener = new FakeResolver(answers);
  const { logger, lines } = collectingLogger();
  const resolver = new ExitResolver({ opener, clock, logger });
  const answerer = new Answerer(resolver, clock);
  const got: (packet.DecodedPacket & { rcode?: string })[] = [];
  const ask = (message: Uint8Array, address = '127.0.0.1', over: 'udp' | 'tcp' = 'udp') =>
    answerer.handle(message, { over, address }, (reply) => reply && got.push(decode(reply)));
  return { clock, opener, lines, resolver, ask, got };
}

describe('the name server', () => {
  it('the name server asks the exit by one stream, and answers each program with its own id', async () => {
    const { clock, opener, ask, got } = start();
    ask(query('a.example', 'A', { id: 1 }));
    ask(query('b.example', 'A', { id: 2 }));
    await clock.advance(0);
    expect(got).toMatchObject([
      { id: 1, answers: [{ name: 'a.example' }] },
      { id: 2, answers: [{ name: 'b.example' }] },
    ]);
    expect(opener.opened).toBe(1);
  });

  it('the name server asks only once what several programs ask at the same time, and answers all', async () => {
    const { clock, opener, ask, got } = start();
    for (let id = 0; id < 5; id++) ask(query('a.example', 'A', { id }));
    await clock.advance(0);
    expect(got.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4]);
    expect(opener.queries).toHaveLength(1);
  });

  it('the name server answers from its cache until the TTL is over, with lower TTLs', async () => {
    const { clock, opener, ask, got } = start();
    ask(query('a.example', 'A'));
    await clock.advance(45_000);
    ask(query('A.EXAMPLE', 'A'));
    expect(got[1]?.answers).toMatchObject([{ ttl: 15 }]);
    await clock.advance(15_000);
    ask(query('a.example', 'A'));
    await clock.advance(0);
    expect(opener.queries).toHaveLength(2);
  });

  it('the name server keeps NXDOMAIN as long as the zone says', async () => {
    const { clock, opener, ask, got } = start((asked) =>
      answer(asked, [], { authorities: [soa('example', 900, 30)] }, 3),
    );
    ask(query('a.example', 'A'));
    await clock.advance(29_000);
    ask(query('a.example', 'A'));
    expect(got).toMatchObject([{ rcode: 'NXDOMAIN' }, { rcode: 'NXDOMAIN' }]);
    expect(opener.queries).toHaveLength(1);
    await clock.advance(1_000);
    ask(query('a.example', 'A'));
    await clock.advance(0);
    expect(opener.queries).toHaveLength(2);
  });

  it('the name server passes REFUSED and SERVFAIL of the exit on', async () => {
    for (const [code, rcode] of [
      [5, 'REFUSED'],
      [2, 'SERVFAIL'],
    ] as const) {
      const { clock, ask, got } = start((asked) => answer(asked, [], {}, code));
      ask(query('a.example', 'A'));
      await clock.advance(0);
      expect(got).toMatchObject([{ rcode, questions: [{ name: 'a.example' }] }]);
    }
  });

  it('the name server answers SERVFAIL in less than 5 s where there is no session, and tries again', async () => {
    const { clock, opener, ask, got } = start();
    opener.fault = 'silence';
    ask(query('a.example', 'A'));
    await clock.advance(ANSWER_LIMIT_MS - 1);
    expect(got).toEqual([]);
    await clock.advance(1);
    expect(got).toMatchObject([{ rcode: 'SERVFAIL' }]);
    opener.fault = undefined;
    await clock.advance(1_000);
    ask(query('a.example', 'A'));
    await clock.advance(0);
    expect(got[1]).toMatchObject({ rcode: 'NOERROR' });
  });

  it('the name server answers SERVFAIL at once where the exit is too old, tells it once, and tries ever more seldom', async () => {
    const { clock, opener, lines, ask, got } = start();
    opener.fault = 'service-unknown';
    for (let second = 0; second < 60; second++) {
      ask(query(`${second}.example`, 'A'));
      await clock.advance(1_000);
    }
    expect(got).toHaveLength(60);
    expect(got.every(({ rcode }) => rcode === 'SERVFAIL')).toBe(true);
    expect(opener.opened).toBeLessThan(15);
    expect(lines.filter(({ level }) => level === 40)).toHaveLength(1);
  });

  it('the name server asks again by a new stream what was not answered when the stream ended', async () => {
    const { clock, opener, ask, got } = start(() => undefined);
    ask(query('a.example', 'A'));
    await clock.advance(0);
    opener.answers = answering;
    opener.streams[0]?.destroy();
    await clock.advance(1_000);
    expect(got).toMatchObject([{ rcode: 'NOERROR' }]);
    expect(opener.opened).toBe(2);
  });

  it('the name server closes the stream after 30 s without a question', async () => {
    const { clock, opener, ask } = start();
    ask(query('a.example', 'A'));
    await clock.advance(29_000);
    expect(opener.streams[0]?.readableEnded).toBe(false);
    await clock.advance(2_000);
    expect(opener.streams[0]?.destroyed || opener.streams[0]?.readableEnded).toBe(true);
  });

  it('the name server waits for at most 1,024 answers, and at most half of its askers are of one address', async () => {
    const { clock, opener, ask, got } = start(() => undefined);
    for (let i = 0; i <= MAX_QUESTIONS; i++) ask(query(`${i}.example`, 'A'), `10.0.0.${i % 4}`);
    await clock.advance(0);
    expect(got).toMatchObject([{ rcode: 'SERVFAIL' }]);
    expect(opener.queries).toHaveLength(MAX_QUESTIONS);
    for (let i = 0; i <= MAX_WAITING / 2; i++) ask(query('0.example', 'A'), '10.0.0.9');
    expect(got).toHaveLength(2);
  });

  it('the name server answers SERVFAIL to what is no answer to the question', async () => {
    const { clock, ask, got } = start((asked) => {
      const other = query('other.example', 'A', { id: asked.readUInt16BE(0) });
      return answer(other, [record('other.example')]);
    });
    ask(query('a.example', 'A'));
    await clock.advance(0);
    expect(got).toMatchObject([{ rcode: 'SERVFAIL' }]);
  });

  it('the name server answers all who wait when it is closed, and leaves no timer', async () => {
    const { clock, resolver, ask, got } = start(() => undefined);
    ask(query('a.example', 'A'));
    await clock.advance(0);
    resolver.close();
    expect(got).toMatchObject([{ rcode: 'SERVFAIL' }]);
    expect(clock.timers).toBe(0);
    const asked = judge(query('b.example', 'A')) as { query: Asked; key: string };
    const late: Uint8Array[] = [];
    resolver.resolve(asked.query, asked.key, (reply) => late.push(reply));
    expect(late).toHaveLength(1);
  });
});
