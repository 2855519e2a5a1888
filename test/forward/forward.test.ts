import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatListen, parseForward } from '../../src/forward/forward.ts';
import { ipTarget } from '../support/net/targets.ts';

const HOW: unknown = expect.stringContaining('[BIND:]PORT:HOST:PORT');
const named = (name: string, port: number) => ({ kind: 'name', name, port });
const local = (port: number, host = '127.0.0.1') => ({ host, port });

describe('parseForward', () => {
  it.each([
    ['8080:intra.example:80', { protocol: 'tcp', listen: local(8080), to: named('intra.example', 80) }],
    ['8080:intra.example:80/tcp', { protocol: 'tcp', listen: local(8080), to: named('intra.example', 80) }],
    ['5353:192.0.2.7:53/udp', { protocol: 'udp', listen: local(5353), to: ipTarget('192.0.2.7', 53) }],
    ['127.0.0.2:80:a:1', { protocol: 'tcp', listen: local(80, '127.0.0.2'), to: named('a', 1) }],
    ['0:a:65535', { protocol: 'tcp', listen: local(0), to: named('a', 65_535) }],
    ['*:80:a:1', { protocol: 'tcp', listen: local(80, '0.0.0.0'), to: named('a', 1) }],
    [':80:a:1', { protocol: 'tcp', listen: local(80, '0.0.0.0'), to: named('a', 1) }],
    ['localhost:80:a:1', { protocol: 'tcp', listen: local(80, 'localhost'), to: named('a', 1) }],
    [
      '[::1]:51820:[2001:db8::1]:51820/udp',
      { protocol: 'udp', listen: local(51_820, '::1'), to: ipTarget('2001:db8::1', 51_820) },
    ],
    ['unix:/run/db.sock:db:5432', { protocol: 'tcp', listen: { path: '/run/db.sock' }, to: named('db', 5432) }],
    [
      'unix:/tmp/a:b:[2001:db8::1]:22',
      { protocol: 'tcp', listen: { path: '/tmp/a:b' }, to: ipTarget('2001:db8::1', 22) },
    ],
    ['unix:C:\\db.sock:db:1', { protocol: 'tcp', listen: { path: 'C:\\db.sock' }, to: named('db', 1) }],
  ])('parseForward reads %s', (text, forward) => {
    expect(parseForward(text)).toEqual(forward);
  });

  it.each([
    '',
    '8080',
    'host:80',
    '8080:host',
    '8080:host:',
    '8080::80',
    '8080:host:0',
    '8080:host:65536',
    '65536:host:80',
    '-1:host:80',
    '8080:host:80:',
    '8080:host:http',
    '8080:host:80/sctp',
    '8080:host:80/udp/udp',
    '1:2:3:4:5',
    '8080:-h:80',
    '8080:a..b:80',
    '8080:::1:80',
    '8080:[::1:80',
    '8080:[::g]:80',
    '[::1:8080:host:80',
    '8080:[host]:80',
    '8080:ho st:80',
    'unix:',
    'unix:/run/a',
    'unix:/run/a:80',
    'unix:/run/a:db',
    'unix:/run/a:db:0',
    'unix::db:80',
    'unix:/run/a:db:53/udp',
  ])('parseForward rejects %j, and says how to write it', (text) => {
    expect(() => parseForward(text)).toThrow(expect.objectContaining({ fault: 'bad-option', fix: HOW }));
  });

  it('parseForward throws nothing but bad-option, whatever comes', () => {
    const letters = fc.string({ unit: fc.constantFrom(...'a1:[]/.-*'), maxLength: 30 });
    fc.assert(
      fc.property(
        fc.oneof(
          letters,
          fc.string(),
          letters.map((text) => `unix:${text}`),
        ),
        (text) => {
          try {
            formatListen(parseForward(text).listen);
          } catch (error) {
            expect((error as { fault?: string }).fault).toBe('bad-option');
          }
        },
      ),
      { seed: 20_261_201, numRuns: 3_000 },
    );
  });
});
