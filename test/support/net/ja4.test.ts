/** The fingerprint of TLS clients, against the example of its specification. */
import { expect, it } from 'vitest';
import { ja4 } from './ja4.ts';

/** JA4.md, "Raw Output": in the order of the ClientHello. */
const CIPHERS = '1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035';
const EXTENSIONS = '001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015';
const ALGORITHMS = '0403,0804,0401,0503,0805,0501,0806,0601';

const u16 = (...values: number[]) => Buffer.concat(values.map((value) => Buffer.from([value >> 8, value & 0xff])));
const codes = (text: string) => text.split(',').map((code) => Number.parseInt(code, 16));
const vector = (content: Buffer) => Buffer.concat([u16(content.length), content]);

/** What an extension holds, where the fingerprint reads it. */
const CONTENTS: Readonly<Record<number, Buffer>> = {
  16: vector(Buffer.from('\x02h2\x08http/1.1', 'latin1')),
  13: vector(u16(...codes(ALGORITHMS))),
  43: Buffer.concat([Buffer.from([6]), u16(0x3a3a, 0x0304, 0x0303)]),
};

/** With GREASE (RFC 8701) in each list, and cut into two records. */
function clientHello(extensions: readonly number[]): Buffer {
  const body = Buffer.concat([
    ...[u16(0x0303), Buffer.alloc(32, 7), Buffer.from([0])],
    ...[vector(u16(0x4a4a, ...codes(CIPHERS))), Buffer.from([1, 0])],
    vector(
      Buffer.concat(
        [0x2a2a, ...extensions].map((type) => Buffer.concat([u16(type), vector(CONTENTS[type] ?? u16(0))])),
      ),
    ),
  ]);
  const message = Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
  const record = (part: Buffer) => Buffer.concat([Buffer.from([22, 3, 1]), vector(part)]);
  return Buffer.concat([record(message.subarray(0, 100)), record(message.subarray(100))]);
}

it('JA4 of the example in its specification is the one given there', () => {
  expect(ja4(clientHello(codes(EXTENSIONS)))).toBe('t13d1516h2_8daaf6152771_e5627efa2ab1');
});

it('JA4 without server name, ALPN and signature algorithms has the marks and the hash given for that', () => {
  const less = codes(EXTENSIONS).filter((type) => ![0x0000, 0x0010].includes(type));
  expect(ja4(clientHello(less))).toBe('t13i151400_8daaf6152771_e5627efa2ab1');
  const others = less.filter((type) => type !== 0x000d);
  expect(ja4(clientHello(others))).not.toContain('e5627efa2ab1');
});
