import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ProxyHeader, readProxyHeader } from '../../../src/relay/proxies/proxy-header.ts';

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

/** Version 2, written from the specification; fields are type and value. */
function v2(command: number, family: number, addresses: Buffer, fields: readonly [number, Buffer][] = []): Buffer {
  const parts = fields.map(([type, value]) =>
    Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 255]), value]),
  );
  const rest = Buffer.concat([addresses, ...parts]);
  return Buffer.concat([SIGNATURE, Buffer.from([command, family, rest.length >> 8, rest.length & 255]), rest]);
}

const IPV4 = Buffer.from([192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0x01, 0xbb]);
const IPV6 = Buffer.concat([
  Buffer.from('20010db8000000000000000000000007', 'hex'),
  Buffer.from('20010db8000000000000000000000001', 'hex'),
  Buffer.from([0x1f, 0x90, 0x01, 0xbb]),
]);

const whole = (bytes: Buffer, client: object | undefined): ProxyHeader =>
  ({ state: 'whole', length: bytes.length, client }) as ProxyHeader;

/** With bytes of a request behind, and read in every cut of it. */
function expectRead(header: Buffer, client: object | undefined): void {
  for (let length = 0; length < header.length; length++)
    expect([length, readProxyHeader(header.subarray(0, length))]).toEqual([length, { state: 'incomplete' }]);
  const behind = Buffer.concat([header, Buffer.from('GET / HTTP/1.1\r\n')]);
  expect(readProxyHeader(behind)).toEqual(whole(header, client));
}

describe('version 1 of the PROXY protocol', () => {
  it.each([
    ['PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\n', { address: '192.0.2.7', port: 8080 }],
    ['PROXY TCP6 2001:DB8::7 ::1 65535 0\r\n', { address: '2001:db8::7', port: 65_535 }],
    [
      `PROXY TCP6 ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535\r\n`,
      { address: `${'ffff:'.repeat(7)}ffff`, port: 65_535 },
    ],
    ['PROXY UNKNOWN\r\n', undefined],
    ['PROXY UNKNOWN ffff::1 whatever follows\r\n', undefined],
  ])('the line %j is read, however it is cut', (line, client) => {
    expectRead(Buffer.from(line, 'latin1'), client);
  });

  it.each([
    'GET / HTTP/1.1\r\n',
    'PROXY\r\n',
    'PROXY TCP4 192.0.2.7 10.0.0.1 8080\r\n',
    'PROXY TCP4 192.0.2.7 10.0.0.1 8080 443 \r\n',
    'PROXY TCP4  192.0.2.7 10.0.0.1 8080 443\r\n',
    'PROXY TCP4 2001:db8::7 ::1 8080 443\r\n',
    'PROXY TCP6 192.0.2.7 10.0.0.1 8080 443\r\n',
    'PROXY TCP4 192.0.2.07 10.0.0.1 8080 443\r\n',
    'PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n',
    'PROXY TCP4 192.0.2.7 10.0.0.1 08 443\r\n',
    'PROXY UDP4 192.0.2.7 10.0.0.1 80 443\r\n',
    'proxy TCP4 192.0.2.7 10.0.0.1 80 443\r\n',
    `PROXY UNKNOWN ${'x'.repeat(107)}\r\n`,
  ])('the line %j is malformed', (line) => {
    expect(readProxyHeader(Buffer.from(line, 'latin1'))).toEqual({ state: 'malformed' });
  });
});

describe('version 2 of the PROXY protocol', () => {
  it.each([
    ['IPv4', v2(0x21, 0x11, IPV4), { address: '192.0.2.7', port: 8080 }],
    ['IPv6', v2(0x21, 0x21, IPV6), { address: '2001:db8::7', port: 8080 }],
    ['a Unix socket', v2(0x21, 0x31, Buffer.alloc(216)), undefined],
    ['an unspecified family', v2(0x21, 0x00, Buffer.alloc(0)), undefined],
    ['the command LOCAL', v2(0x20, 0x00, Buffer.alloc(0)), undefined],
    ['the command LOCAL with addresses', v2(0x20, 0x11, IPV4), undefined],
    [
      'unknown fields',
      v2(0x21, 0x11, IPV4, [
        [0xe0, Buffer.from('x'.repeat(300))],
        [0x04, Buffer.alloc(0)],
      ]),
      { address: '192.0.2.7', port: 8080 },
    ],
  ])('a header with %s is read, however it is cut', (_what, header, client) => {
    expectRead(header, client);
  });

  it.each([
    ['a version of its own', v2(0x31, 0x11, IPV4)],
    ['an unknown command', v2(0x22, 0x11, IPV4)],
    ['too short addresses', v2(0x21, 0x11, IPV4.subarray(1))],
    ['a field that is cut', v2(0x21, 0x11, Buffer.concat([IPV4, Buffer.from([4, 0, 9, 1])]))],
    ['half the head of a field', v2(0x21, 0x11, Buffer.concat([IPV4, Buffer.from([4, 0])]))],
    ['5,000 bytes', v2(0x21, 0x11, Buffer.concat([IPV4, Buffer.alloc(5_000)]))],
    ['a wrong checksum', v2(0x21, 0x11, IPV4, [[0x03, Buffer.from([1, 2, 3, 4])]])],
    ['a checksum of three bytes', v2(0x21, 0x11, IPV4, [[0x03, Buffer.from([1, 2, 3])]])],
  ])('a header with %s is malformed', (_what, header) => {
    expect(readProxyHeader(header)).toEqual({ state: 'malformed' });
  });

  it('a right checksum is accepted, and one bit that differs is not', () => {
    // CRC32C of "123456789" is e3069283: the usual check value, here of a whole header, computed bit by bit.
    const crc = (bytes: Buffer): number => {
      let value = 0xffffffff;
      for (const byte of bytes)
        for (let bit = 0; bit < 8; bit++) {
          const isSet = ((value ^ (byte >> bit)) & 1) === 1;
          value = (value >>> 1) ^ (isSet ? 0x82f63b78 : 0);
        }
      return (value ^ 0xffffffff) >>> 0;
    };
    expect(crc(Buffer.from('123456789')).toString(16)).toBe('e3069283');
    const header = v2(0x21, 0x11, IPV4, [
      [0x03, Buffer.alloc(4)],
      [0x04, Buffer.alloc(2)],
    ]);
    header.writeUInt32BE(crc(header), 16 + 12 + 3);
    expectRead(header, { address: '192.0.2.7', port: 8080 });
    header[20] = (header[20] ?? 0) ^ 1;
    expect(readProxyHeader(header)).toEqual({ state: 'malformed' });
  });
});

describe('the header of the PROXY protocol', () => {
  it('any addresses are read as they were written, in both versions', () => {
    const port = fc.nat(65_535);
    const bytes = fc.uint8Array({ minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(bytes, bytes, port, port, (from, to, fromPort, toPort) => {
        const client = { address: from.join('.'), port: fromPort };
        const line = Buffer.from(`PROXY TCP4 ${from.join('.')} ${to.join('.')} ${fromPort} ${toPort}\r\n`);
        expect(readProxyHeader(line)).toEqual(whole(line, client));
        const ports = Buffer.alloc(4);
        ports.writeUInt16BE(fromPort, 0);
        ports.writeUInt16BE(toPort, 2);
        const binary = v2(0x21, 0x11, Buffer.concat([from, to, ports]));
        expect(readProxyHeader(binary)).toEqual(whole(binary, client));
      }),
    );
  });

  it('no bytes make it throw, or read more than came', () => {
    const start = fc.constantFrom(
      SIGNATURE,
      Buffer.from('PROXY '),
      Buffer.concat([SIGNATURE, Buffer.from([0x21, 0x11])]),
      Buffer.alloc(0),
    );
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 300 }), (first, rest) => {
        const bytes = Buffer.concat([first, rest]);
        const header = readProxyHeader(bytes);
        if (header.state === 'whole') expect(header.length).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });
});
