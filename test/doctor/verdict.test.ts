/** What the answers of name servers mean, and how far a client came. */
import { describe, expect, it } from 'vitest';
import { judgeNames } from '../../src/doctor/names.ts';
import type { NameFacts } from '../../src/doctor/probes.ts';
import { reachedBefore } from '../../src/doctor/verdict.ts';
import { WstunError } from '../../src/errors.ts';
import { DialError } from '../../src/transport/dial-obstacle.ts';

const facts = (changes: Partial<NameFacts>): NameFacts => ({
  ...{ host: 'relay.example.org', addresses: ['93.184.216.34'], servers: [], lastGood: undefined, ...changes },
});

describe('the answers of name servers', () => {
  it('servers that are silent are named, and one that is dead beside another is no fault', () => {
    const silent = { server: '10.0.0.53', addresses: [], fault: 'silent' } as const;
    const dead = judgeNames(facts({ addresses: [], code: 'EAI_AGAIN', servers: [silent] }));
    expect(dead.error?.fault).toBe('resolver-silent');
    expect(dead.detail).toContain('10.0.0.53');
    const other = { server: '10.0.0.54', addresses: ['93.184.216.34'] };
    const one = judgeNames(facts({ servers: [silent, other] }));
    expect(one.error).toBeUndefined();
    expect(one.detail).toContain('name server 10.0.0.53 does not answer');
  });

  it('a name that does not exist is no fault of the servers', () => {
    const unknown = { server: '10.0.0.53', addresses: [], fault: 'unknown' } as const;
    const { error } = judgeNames(facts({ addresses: [], code: 'ENOTFOUND', servers: [unknown] }));
    expect(error?.what).toMatch(/no such name \(10\.0\.0\.53 says that there is no such name\)/);
  });

  it('a server lies that gives a private address where the relay was at a public one, or another server says one', () => {
    const lies = facts({ addresses: ['10.1.1.1'] });
    expect(judgeNames(lies).doubt).toBeUndefined();
    expect(judgeNames({ ...lies, lastGood: '93.184.216.34' }).doubt?.fault).toBe('resolver-lies');
    const servers = [
      { server: '10.0.0.53', addresses: ['10.1.1.1'] },
      { server: '9.9.9.9', addresses: ['93.184.216.34'] },
    ];
    expect(judgeNames({ ...lies, servers }).doubt?.detail).toContain('9.9.9.9 says 93.184.216.34');
    expect(judgeNames({ ...lies, lastGood: '10.2.2.2' }).doubt).toBeUndefined();
  });

  it('says which versions of IP there are', () => {
    expect(judgeNames(facts({})).detail).toContain('IPv4 only');
    expect(judgeNames(facts({ addresses: ['2001:db8::1'] })).detail).toContain('IPv6 only');
    expect(judgeNames(facts({ addresses: ['2001:db8::1', '93.184.216.34'] })).detail).toContain('IPv4 and IPv6');
  });
});

describe('how far a client came at its first failure', () => {
  it.each([
    ['wss://r.example', new DialError('relay-unreachable', 'r: no such name', 'name'), [], 'names'],
    ['wss://r.example', new DialError('relay-unreachable', 'r: no answer', 'unreachable'), ['names'], 'tcp'],
    ['wss://r.example', new DialError('relay-untrusted', 'r', 'untrusted'), ['names', 'tcp'], 'tls'],
    ['ws://10.0.0.1:80', new DialError('relay-odd-answer', 'r', 'answer'), ['tcp'], 'websocket'],
    ['wss://r.example', new DialError('tls-inspected', 'r through http://p:3128: x', 'untrusted'), ['proxy'], 'tls'],
    ['wss://r.example', new WstunError('proxy-credentials-needed', 'http://p:3128'), [], 'proxy'],
    ['wss://r.example', new WstunError('exit-absent'), ['names', 'tcp', 'tls', 'websocket'], 'exit'],
    ['wss://r.example', new WstunError('clock-off'), ['names', 'tcp', 'tls', 'websocket'], 'clock'],
    ['wss://r.example', new WstunError('handshake-failed'), ['names', 'tcp', 'tls', 'websocket'], 'handshake'],
  ] as const)('%s: %s', (relay, error, works, fails) => {
    expect(reachedBefore(error, relay)).toEqual({ works, fails });
  });
});
