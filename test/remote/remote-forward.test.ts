import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WstunError } from '../../src/errors.ts';
import { proxyHeader } from '../../src/remote/proxy-v2.ts';
import {
  formatRemoteForward,
  listenTarget,
  parseRemoteForward,
  type RemoteForward,
} from '../../src/remote/remote-forward.ts';
import { ipTarget } from '../support/proxy/fake-tunnel.ts';
import { parseProxyV2 } from '../support/proxy-v2.ts';

const tcp = (host: string, port: number, to: RemoteForward['to']): RemoteForward => ({
  ...{ protocol: 'tcp', proxyHeader: false },
  ...{ listen: { host, port }, to },
});

describe('parseRemoteForward', () => {
  it('parseRemoteForward reads what ssh -R reads', () => {
    expect(parseRemoteForward('8080:localhost:80')).toEqual(tcp('127.0.0.1', 8080, { host: 'localhost', port: 80 }));
    expect(parseRemoteForward('0.0.0.0:8080:10.0.0.1:80')).toEqual(
      tcp('0.0.0.0', 8080, { host: '10.0.0.1', port: 80 }),
    );
    expect(parseRemoteForward('[::1]:0:[2001:db8::1]:80')).toEqual(tcp('::1', 0, { host: '2001:db8::1', port: 80 }));
    expect(parseRemoteForward(':8080:localhost:80')).toEqual(tcp('0.0.0.0', 8080, { host: 'localhost', port: 80 }));
    expect(parseRemoteForward('*:8080:localhost:80').listen.host).toBe('0.0.0.0');
  });

  it('parseRemoteForward reads the protocol, the PROXY header, and socks with and without a port', () => {
    expect(parseRemoteForward('53:127.0.0.1:5353/udp')).toMatchObject({ protocol: 'udp', to: { port: 5353 } });
    expect(parseRemoteForward('80:127.0.0.1:80/tcp')).toEqual(parseRemoteForward('80:127.0.0.1:80'));
    expect(parseRemoteForward('80:127.0.0.1:80/proxy-v2')).toMatchObject({ protocol: 'tcp', proxyHeader: true });
    expect(parseRemoteForward('socks')).toEqual(tcp('127.0.0.1', 1080, 'socks'));
    expect(parseRemoteForward('9050:socks')).toEqual(tcp('127.0.0.1', 9050, 'socks'));
    expect(parseRemoteForward('[::]:9050:socks')).toEqual(tcp('::', 9050, 'socks'));
  });

  it('parseRemoteForward rejects everything else, and says what to write', () => {
    const wrong = ['', '8080', '8080:', 'localhost:80', '8080:localhost', '8080:localhost:0', '8080:localhost:65536'];
    wrong.push('65536:localhost:80', '8080::80', 'a:b:8080:localhost:80', '[::1:8080:localhost:80', '8080:[x]:80');
    wrong.push('8080:localhost:80/sctp', 'x:socks', '1:2:3:socks', 'socks/udp', 'socks/proxy-v2', '8080:host:80:');
    wrong.push(
      '8080:ho st:80',
      '8080:localhost:80/udp/udp',
      '+1:localhost:80',
      ':socks:',
      '[fe80::1]8080:localhost:80',
    );
    for (const text of wrong)
      expect(() => parseRemoteForward(text), text).toThrow(expect.objectContaining({ fault: 'bad-option' }));
  });

  it('parseRemoteForward reads back whatever formatRemoteForward writes', () => {
    const host = fc.oneof(fc.constantFrom('localhost', 'a.example', '127.0.0.1', '::1', '2001:db8::5'), fc.ipV4());
    const port = fc.integer({ min: 1, max: 65_535 });
    const to = fc.oneof(fc.record({ host, port }), fc.constant('socks' as const));
    fc.assert(
      fc.property(host, fc.nat(65_535), to, fc.constantFrom('tcp', 'udp', 'proxy'), (bind, from, target, kind) => {
        const plain = tcp(bind, from, target);
        const isSocks = target === 'socks';
        const forward = {
          ...plain,
          ...(kind === 'udp' && !isSocks && { protocol: 'udp' as const }),
          ...(kind === 'proxy' && !isSocks && { proxyHeader: true }),
        };
        expect(parseRemoteForward(formatRemoteForward(forward))).toEqual(forward);
      }),
    );
  });

  it('parseRemoteForward either reads a text or throws a WstunError', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'[]:0123456789abs.socks/udp*-') }), (text) => {
        try {
          const { port } = listenTarget(parseRemoteForward(text));
          expect(port).toBeLessThanOrEqual(65_535);
        } catch (error) {
          expect(error).toBeInstanceOf(WstunError);
        }
      }),
    );
  });
});

describe('proxyHeader', () => {
  it('proxyHeader says who has connected, and where, in either family', () => {
    expect(parseProxyV2(proxyHeader(ipTarget('198.51.100.7', 40_000), ipTarget('192.0.2.1', 8080)))).toEqual({
      ...{ command: 'PROXY', source: '198.51.100.7:40000', target: '192.0.2.1:8080' },
    });
    const v6 = { kind: 'ip', ip: Uint8Array.from([0x20, 1, 0xd, 0xb8, ...Buffer.alloc(11), 5]), port: 1 } as const;
    expect(parseProxyV2(proxyHeader(v6, { ...v6, port: 2 }))).toEqual({
      ...{ command: 'PROXY', source: '[2001:db8::5]:1', target: '[2001:db8::5]:2' },
    });
  });

  it('proxyHeader writes IPv4 as a mapped address where the families differ, and LOCAL where there is no address', () => {
    const any6 = { kind: 'ip', ip: new Uint8Array(16), port: 80 } as const;
    expect(parseProxyV2(proxyHeader(ipTarget('198.51.100.7', 9), any6))).toMatchObject({
      source: '[::ffff:c633:6407]:9',
      target: '[::]:80',
    });
    expect(parseProxyV2(proxyHeader({ kind: 'name', name: 'x', port: 1 }, any6))).toEqual({ command: 'LOCAL' });
  });
});
