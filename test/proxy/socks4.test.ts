import { describe, expect, it } from 'vitest';
import type { FaultName } from '../../src/errors.ts';
import { Socks4Negotiation } from '../../src/proxy/socks4.ts';
import { ipTarget } from '../support/net/targets.ts';
import { cuts, run } from '../support/proxy/socks-run.ts';

const open = () => new Socks4Negotiation(false);
const FAILED = '005b000000000000';

function request(ip: number[], user: string, name?: string): number[] {
  const tail = name === undefined ? [] : [...Buffer.from(name, 'latin1'), 0];
  return [4, 1, 0x1f, 0x90, ...ip, ...Buffer.from(user), 0, ...tail];
}

describe('Socks4Negotiation', () => {
  it.each([
    ['an address', request([192, 0, 2, 7], ''), ipTarget('192.0.2.7', 8080)],
    ['an address with a user', request([192, 0, 2, 7], 'ann'), ipTarget('192.0.2.7', 8080)],
    ['0.0.0.0, which is no sign of 4a', request([0, 0, 0, 0], ''), ipTarget('0.0.0.0', 8080)],
    ['a name', request([0, 0, 0, 1], 'ann', 'example.com'), { kind: 'name', name: 'example.com', port: 8080 }],
    [
      'a name of 255 bytes behind a user of 255',
      request([0, 0, 0, 255], 'u'.repeat(255), 'n'.repeat(255)),
      { kind: 'name', name: 'n'.repeat(255), port: 8080 },
    ],
  ])('Socks4Negotiation reads a request for %s and what follows it, however it is split', (_, bytes, target) => {
    for (const pieces of cuts([...bytes, ...Buffer.from('data')])) {
      expect(run(open(), pieces)).toMatchObject({ replies: '', end: 'request', target, rest: 'data' });
    }
  });

  it.each<[string, number[], string, FaultName]>([
    ['command 3', [4, 3], FAILED, 'proxy-command'],
    ['an empty name', request([0, 0, 0, 1], '', ''), FAILED, 'dial-bad-target'],
    ['a name of 256 bytes', request([0, 0, 0, 1], '', 'n'.repeat(256)), FAILED, 'dial-bad-target'],
    ['a user that never ends', request([1, 2, 3, 4], 'u'.repeat(600)), FAILED, 'proxy-malformed'],
    ['a name that never ends', request([0, 0, 0, 1], '', 'n'.repeat(600)), FAILED, 'proxy-malformed'],
  ])('Socks4Negotiation refuses %s, however it is split', (_, bytes, replies, fault) => {
    for (const pieces of cuts(bytes)) expect(run(open(), pieces)).toMatchObject({ replies, end: 'refused', fault });
  });

  it('Socks4Negotiation tells BIND', () => {
    const bytes = [4, 2, ...request([192, 0, 2, 7], '').slice(2)];
    for (const pieces of cuts(bytes)) expect(run(open(), pieces)).toMatchObject({ end: 'request', command: 'bind' });
  });

  it('Socks4Negotiation replies with an IPv4 address and a port, and of IPv6 with the port alone', () => {
    const hex = (text: string) => Buffer.from(open().grantedAt(ipTarget(text, 8080))).toString('hex');
    expect([hex('192.0.2.7'), hex('2001:db8::1')]).toEqual(['005a1f90c0000207', '005a1f9000000000']);
  });

  it('Socks4Negotiation takes a request of 600 bytes and none of 601', () => {
    const ofLength = (length: number) => Uint8Array.from(request([1, 2, 3, 4], 'u'.repeat(length - 9)));
    expect(run(open(), [ofLength(600)])).toMatchObject({ end: 'request' });
    expect(run(open(), [ofLength(601)])).toMatchObject({ end: 'refused', fault: 'proxy-malformed' });
  });

  it('Socks4Negotiation refuses every request if a password is required', () => {
    const pieces = [Uint8Array.from(request([192, 0, 2, 7], 'ann'))];
    const expected = { replies: FAILED, end: 'refused', fault: 'proxy-unauthorised' };
    expect(run(new Socks4Negotiation(true), pieces)).toMatchObject(expected);
  });
});
