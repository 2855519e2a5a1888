import { describe, expect, it } from 'vitest';
import type { FaultName } from '../../src/errors.ts';
import { refusalOf, serialiseAnswer } from '../../src/proxy/http-refusals.ts';

describe('refusalOf', () => {
  it.each<[FaultName, number]>([
    ['dial-not-allowed', 403],
    ['dial-timed-out', 504],
    ['dial-busy', 503],
    ['not-connected', 503],
    ['dial-refused', 502],
    ['dial-host-unreachable', 502],
    ['dial-network-unreachable', 502],
    ['dial-name-unknown', 502],
    ['dial-name-failed', 502],
    ['dial-failed', 502],
    ['internal', 502],
    ['proxy-unauthorised', 407],
    ['proxy-timed-out', 408],
    ['proxy-malformed', 400],
  ])('refusalOf gives %s the status %i and a body with its code', (fault, status) => {
    const refusal = refusalOf(fault, 'détail');
    expect(refusal).toMatchObject({ fault, status });
    expect(refusal.body).toMatch(/: détail.*\(WSTUN-E\d{3}\)\n$/);
  });

  it('refusalOf asks for credentials only with 407', () => {
    expect(refusalOf('proxy-unauthorised').headers).toContain('Proxy-Authenticate');
    expect(refusalOf('dial-refused').headers).not.toContain('Proxy-Authenticate');
  });
});

describe('serialiseAnswer', () => {
  it('serialiseAnswer has the length of the body in bytes, and says that the connection ends', () => {
    const [head = '', body = ''] = serialiseAnswer(refusalOf('dial-refused', 'ö'), { stays: false })
      .toString()
      .split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/);
    expect(head).toContain('Connection: close');
    expect(head).toContain(`Content-Length: ${Buffer.byteLength(body)}`);
  });

  it('serialiseAnswer omits the body for HEAD, and says whether the connection is kept', () => {
    const text = serialiseAnswer(refusalOf('dial-refused'), { stays: true, isHead: true }).toString();
    expect(text).toMatch(/\r\nContent-Length: [1-9]\d*\r\nConnection: keep-alive\r\n\r\n$/);
  });
});
