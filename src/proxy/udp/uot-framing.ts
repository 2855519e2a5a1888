/**
 * Datagrams in a connection to a name that stands for them: UDP over TCP of sing-box (SagerNet/sing, common/uot). Pure.
 *
 * Version 2 begins with a request: ISCONNECT (1 byte), then an address as in SOCKS5. If ISCONNECT is not 0, each
 * datagram is LENGTH (2) DATA, and all are for that address. Otherwise, and always in version 1, which has no request,
 * each is ATYP ADDR PORT LENGTH DATA, with other values of ATYP than SOCKS5.
 */
import type { Target } from '../../tunnel/stream/stream.ts';
import {
  type AddressTypes,
  readSocksAddress,
  type SocksAddress,
  socksAddressLength,
  writeSocksAddress,
} from '../socks-address.ts';
import { type DatagramFrame, type DatagramFraming, INCOMPLETE, MALFORMED } from './datagram-framing.ts';

const VERSION_OF_NAME: ReadonlyMap<string, 1 | 2> = new Map([
  ['sp.udp-over-tcp.arpa', 1],
  ['sp.v2.udp-over-tcp.arpa', 2],
] as const);

/** `AddrParser` in protocol.go. */
const TYPES: AddressTypes = { ipv4: 0, ipv6: 1, name: 2 };
const LENGTH_BYTES = 2;

/** Undefined for every target that is none of the two names, which no name server knows. */
export function uotFramingOf(target: Target): DatagramFraming | undefined {
  const version = target.kind === 'name' ? VERSION_OF_NAME.get(target.name.toLowerCase()) : undefined;
  return version === undefined ? undefined : new UotFraming(version);
}

class UotFraming implements DatagramFraming {
  private next: 'request' | 'addressed' | 'connected';

  constructor(version: 1 | 2) {
    this.next = version === 1 ? 'addressed' : 'request';
  }

  read(bytes: Buffer): DatagramFrame {
    switch (this.next) {
      case 'request':
        return this.request(bytes);
      case 'addressed':
        return addressed(readSocksAddress(bytes, 0, TYPES), bytes);
      case 'connected':
        return datagram(undefined, bytes, 0);
    }
  }

  header(from: Target, dataLength: number): Buffer {
    const length = this.next === 'connected' ? 0 : socksAddressLength(from);
    const bytes = Buffer.allocUnsafe(length + LENGTH_BYTES);
    if (length > 0) writeSocksAddress(bytes, 0, from, TYPES);
    bytes.writeUInt16BE(dataLength, length);
    return bytes;
  }

  private request(bytes: Buffer): DatagramFrame {
    const address = readSocksAddress(bytes, 1);
    if (address.kind === 'incomplete') return INCOMPLETE;
    if (address.kind === 'refused') return MALFORMED;
    const isConnect = bytes[0] !== 0;
    this.next = isConnect ? 'connected' : 'addressed';
    return { kind: 'request', target: isConnect ? address.target : undefined, end: address.end };
  }
}

function addressed(address: SocksAddress, bytes: Buffer): DatagramFrame {
  if (address.kind === 'incomplete') return INCOMPLETE;
  if (address.kind === 'address') return datagram(address.target, bytes, address.end);
  if (address.end === undefined) return MALFORMED;
  const frame = datagram(undefined, bytes, address.end);
  return frame.kind === 'datagram' ? { kind: 'skipped', end: frame.end } : frame;
}

function datagram(target: Target | undefined, bytes: Buffer, at: number): DatagramFrame {
  const dataAt = at + LENGTH_BYTES;
  if (bytes.length < dataAt) return INCOMPLETE;
  const end = dataAt + bytes.readUInt16BE(at);
  return bytes.length < end ? INCOMPLETE : { kind: 'datagram', target, data: bytes.subarray(dataAt, end), end };
}
