/** Addresses of sockets as bytes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressInControl, decodeAddress, encodeAddress } from '../../src/transparent/socket-address.ts';

const ip = fc.oneof(...[4, 16].map((length) => fc.uint8Array({ minLength: length, maxLength: length })));
const place = fc.record({ ip, port: fc.integer({ min: 0, max: 65_535 }) });

describe('addresses of sockets', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(place, (given) => {
        expect(decodeAddress(encodeAddress(given))).toEqual(given);
      }),
    );
  });

  it('are found in control messages, behind others', () => {
    fc.assert(
      fc.property(place, fc.constantFrom(4, 8), fc.nat(20), (given, sizeBytes, other) => {
        const message = (level: number, type: number, data: Buffer): Buffer => {
          const header = Buffer.alloc(sizeBytes + 8);
          header.writeUInt32LE(header.length + data.length, 0);
          header.writeInt32LE(level, sizeBytes);
          header.writeInt32LE(type, sizeBytes + 4);
          const whole = Buffer.concat([header, data]);
          return Buffer.concat([whole, Buffer.alloc((sizeBytes - (whole.length % sizeBytes)) % sizeBytes)]);
        };
        const bytes = Buffer.concat([message(1, 2, Buffer.alloc(other)), message(0, 20, encodeAddress(given))]);
        expect(addressInControl(bytes, { level: 0, type: 20 }, { sizeBytes })).toEqual(given);
        expect(addressInControl(bytes, { level: 0, type: 21 }, { sizeBytes })).toBeUndefined();
      }),
    );
  });

  it('never reads past the end of what the kernel filled', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(4, 8), (bytes, sizeBytes) => {
        addressInControl(Buffer.from(bytes), { level: 0, type: 20 }, { sizeBytes });
        decodeAddress(Buffer.from(bytes));
      }),
    );
  });
});
