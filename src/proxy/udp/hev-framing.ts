/**
 * Datagrams in a SOCKS5 connection after command 5, as hev-socks5-tunnel sends them (heiher/hev-socks5-core, README,
 * "UDP in TCP"): MSGLEN HDRLEN ATYP ADDR PORT DATA. MSGLEN (2 bytes) is the length of DATA alone, as in its source
 * (src/hev-socks5-udp.c, `datlen`); HDRLEN (1) is that of all before DATA. Pure.
 */
import type { Target } from '../../tunnel/stream/stream.ts';
import { readSocksAddress, socksAddressLength, writeSocksAddress } from '../socks-address.ts';
import { type DatagramFrame, type DatagramFraming, INCOMPLETE, MALFORMED } from './datagram-framing.ts';

const ADDRESS_AT = 3;

export class HevFraming implements DatagramFraming {
  read(bytes: Buffer): DatagramFrame {
    const headerLength = bytes[2];
    if (headerLength === undefined) return INCOMPLETE;
    if (headerLength <= ADDRESS_AT) return MALFORMED;
    const end = headerLength + bytes.readUInt16BE(0);
    if (bytes.length < end) return INCOMPLETE;
    const address = readSocksAddress(bytes.subarray(0, headerLength), ADDRESS_AT);
    if (address.kind === 'refused') return { kind: 'skipped', end };
    if (address.kind === 'incomplete' || address.end !== headerLength) return MALFORMED;
    return { kind: 'datagram', target: address.target, data: bytes.subarray(headerLength, end), end };
  }

  /** The sender of an answer is an address: the header of a long name would not fit HDRLEN. */
  header(from: Target, dataLength: number): Buffer {
    const length = ADDRESS_AT + socksAddressLength(from);
    const bytes = Buffer.allocUnsafe(length);
    bytes.writeUInt16BE(dataLength, 0);
    bytes[2] = length;
    writeSocksAddress(bytes, ADDRESS_AT, from);
    return bytes;
  }
}
