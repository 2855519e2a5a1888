/** The header of a datagram between a program and a SOCKS5 proxy (RFC 1928 §7): RSV FRAG ATYP ADDR PORT DATA. Pure. */
import type { Target } from '../../tunnel/stream/stream.ts';
import { readSocksAddress, socksAddressLength, writeSocksAddress } from '../socks-address.ts';

/** RSV (2) and FRAG (1). */
const ADDRESS_AT = 3;

/** Undefined for what a relay has to drop: a malformed header, and a fragment, which §7 does not require. */
export function readDatagram(
  bytes: Buffer,
): { readonly target: Target; readonly data: Buffer<ArrayBufferLike> } | undefined {
  if (bytes[0] !== 0 || bytes[1] !== 0 || bytes[2] !== 0) return undefined;
  const address = readSocksAddress(bytes, ADDRESS_AT);
  if (address.kind !== 'address') return undefined;
  return { target: address.target, data: bytes.subarray(address.end) };
}

/** What stands before the data of a datagram to the program. */
export function datagramHeader(from: Target): Buffer {
  const bytes = Buffer.allocUnsafe(ADDRESS_AT + socksAddressLength(from));
  bytes.fill(0, 0, ADDRESS_AT);
  writeSocksAddress(bytes, ADDRESS_AT, from);
  return bytes;
}
