import { describe, expect, it } from 'vitest';
import { parseNatsUrls, requireClusterName } from '../../src/cluster/nats-urls.ts';
import { WstunError } from '../../src/errors.ts';

function faultFrom(call: () => unknown): WstunError {
  try {
    call();
  } catch (error) {
    if (error instanceof WstunError) return error;
    throw error;
  }
  throw new Error('it threw nothing');
}

describe('URLs of NATS', () => {
  it('URLs of NATS may be given one by one or separated by commas, and the port 4222 may be left out', () => {
    const { hosts, tls, login } = parseNatsUrls(['nats://a.example:4223, nats://b.example', 'nats://[::1]:1']);
    expect(hosts).toEqual(['a.example:4223', 'b.example:4222', '[::1]:1']);
    expect(tls).toBe(false);
    expect(login).toBeUndefined();
    expect(parseNatsUrls(['tls://a.example/']).tls).toBe(true);
  });

  it('a login stands in one URL of NATS at least, and counts for all of them', () => {
    const { login } = parseNatsUrls(['nats://us%40er:p%2Fw@a.example', 'nats://b.example']);
    expect(login).toEqual({ user: 'us@er', password: 'p/w' });
  });

  it('a URL of NATS that is refused is not shown, as it may hold a password', () => {
    const bad = [
      'http://u:secret@a.example',
      'nats://u:secret@a.example:x',
      'nats://u:secret@a.example/path',
      'nats://u:secret@a.example?x=1',
      'nats://u:secret@a.example:0',
      'nats://u:secret@a.example,nats://u:other@b.example',
      'nats://u:secret@a.example,tls://b.example',
      'nats://u:%ff%secret@a.example',
      'nats://',
      '',
    ];
    for (const text of bad) {
      const fault = faultFrom(() => parseNatsUrls([text]));
      expect(fault.fault, text).toBe('bad-cluster');
      expect(fault.message).not.toContain('secret');
    }
    expect(faultFrom(() => parseNatsUrls([])).fault).toBe('bad-cluster');
  });

  it('the name of a cluster can be part of a subject and of the name of a bucket', () => {
    expect(requireClusterName('eu-1_a')).toBe('eu-1_a');
    for (const name of ['', 'a.b', 'a b', '*', '-a', 'a'.repeat(33)])
      expect(faultFrom(() => requireClusterName(name)).fault).toBe('bad-cluster');
  });
});
