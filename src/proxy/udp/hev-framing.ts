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

  /** Of an honest exit the sender of an answer is an address. A long name would not fit HDRLEN: it is told as none. */
  header(sender: Target, dataLength: number): Buffer {
    const isTooLong = ADDRESS_AT + socksAddressLength(sender) > 0xff;
    const from: Target = isTooLong ? { kind: 'ip', ip: new Uint8Array(4), port: sender.port } : sender;
    const length = ADDRESS_AT + socksAddressLength(from);
    const bytes = Buffer.allocUnsafe(length);
    bytes.writeUInt16BE(dataLength, 0);
    bytes[2] = length;
    writeSocksAddress(bytes, ADDRESS_AT, from);
    return bytes;
  }
}
