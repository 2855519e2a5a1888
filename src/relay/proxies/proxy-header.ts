/**
 * The header of the PROXY protocol, versions 1 and 2, in front of a connection: HAProxy's specification of 2020
 * (doc/proxy-protocol.txt). Pure. It says from where the proxy was called; nothing proves that, so that only a trusted
 * proxy's may be read.
 */
import { formatIp, parseIpv4, parseIpv6 } from '../../net/ip.ts';

/** The client of the proxy. */
export interface ProxiedClient {
  readonly address: string;
  readonly port: number;
}

export type ProxyHeader =
  | { readonly state: 'incomplete' }
  | { readonly state: 'malformed' }
  /** `client` is undefined where the proxy speaks for itself (a health check), or of what is no IP. */
  | { readonly state: 'whole'; readonly length: number; readonly client: ProxiedClient | undefined };

/** §2.1: with the CRLF. */
const MAX_V1_BYTES = 107;
/** §2.2: the sender may add any number of fields; those of TLS and of a cloud fit well. */
const MAX_V2_BYTES = 4096;
const V2_SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const V2_FIXED_BYTES = 16;
const INCOMPLETE: ProxyHeader = { state: 'incomplete' };
const MALFORMED: ProxyHeader = { state: 'malformed' };

/** @param bytes all that has come of a connection */
export function readProxyHeader(bytes: Buffer): ProxyHeader {
  const compared = Math.min(bytes.length, V2_SIGNATURE.length);
  if (bytes.subarray(0, compared).equals(V2_SIGNATURE.subarray(0, compared)))
    return compared < V2_SIGNATURE.length ? INCOMPLETE : readV2(bytes);
  return readV1(bytes);
}

const V1_PORT = '(0|[1-9]\\d{0,4})';
const V1_TCP = new RegExp(`^PROXY (TCP4|TCP6) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) ${V1_PORT} ${V1_PORT}$`);
const V1_START = 'PROXY ';

function readV1(bytes: Buffer): ProxyHeader {
  const text = bytes.toString('latin1', 0, MAX_V1_BYTES);
  const end = text.indexOf('\r\n');
  if (end < 0) {
    const mayFollow = text.length < MAX_V1_BYTES && V1_START.startsWith(text.slice(0, V1_START.length));
    return mayFollow ? INCOMPLETE : MALFORMED;
  }
  const line = text.slice(0, end);
  const length = end + 2;
  // What follows this word is to be ignored.
  if (line === 'PROXY UNKNOWN' || line.startsWith('PROXY UNKNOWN '))
    return { state: 'whole', length, client: undefined };
  const [, family, source = '', target = '', port, targetPort] = V1_TCP.exec(line) ?? [];
  const parse = family === 'TCP4' ? parseIpv4 : parseIpv6;
  const ip = family === undefined ? undefined : parse(source);
  if (ip === undefined || parse(target) === undefined) return MALFORMED;
  if (Number(port) > 65_535 || Number(targetPort) > 65_535) return MALFORMED;
  return { state: 'whole', length, client: { address: formatIp(ip), port: Number(port) } };
}

/** Bytes of the addresses and ports, by the family and protocol (§2.2). */
const V2_ADDRESS_BYTES: Readonly<Record<number, number>> = { 17: 12, 18: 12, 33: 36, 34: 36, 49: 216, 50: 216 };
const [LOCAL, PROXY] = [0x20, 0x21];

function readV2(bytes: Buffer): ProxyHeader {
  if (bytes.length < V2_FIXED_BYTES) return INCOMPLETE;
  const command = bytes[12] ?? 0;
  const family = bytes[13] ?? 0;
  const length = V2_FIXED_BYTES + bytes.readUInt16BE(14);
  if ((command !== LOCAL && command !== PROXY) || length > MAX_V2_BYTES) return MALFORMED;
  if (bytes.length < length) return INCOMPLETE;
  const header = bytes.subarray(0, length);
  // Unspecified, or of a later version: the connection's own addresses count.
  const addressBytes = V2_ADDRESS_BYTES[family] ?? 0;
  if (command === LOCAL) return { state: 'whole', length, client: undefined };
  if (V2_FIXED_BYTES + addressBytes > length) return MALFORMED;
  if (addressBytes > 0 && !areFieldsRight(header, V2_FIXED_BYTES + addressBytes)) return MALFORMED;
  return { state: 'whole', length, client: clientOf(header, addressBytes) };
}

function clientOf(header: Buffer, addressBytes: number): ProxiedClient | undefined {
  if (addressBytes !== 12 && addressBytes !== 36) return undefined;
  const ipBytes = addressBytes === 12 ? 4 : 16;
  const ip = Uint8Array.from(header.subarray(V2_FIXED_BYTES, V2_FIXED_BYTES + ipBytes));
  return { address: formatIp(ip), port: header.readUInt16BE(V2_FIXED_BYTES + 2 * ipBytes) };
}

/** PP2_TYPE_CRC32C, the one field that is looked at; others are skipped. */
const CHECKSUM_FIELD = 0x03;

/** §2.2.3: a sender may add a checksum, and a wrong one makes the header invalid. */
function areFieldsRight(header: Buffer, from: number): boolean {
  let at = from;
  while (at < header.length) {
    if (at + 3 > header.length) return false;
    const value = at + 3;
    const end = value + header.readUInt16BE(at + 1);
    if (end > header.length) return false;
    if (header[at] === CHECKSUM_FIELD) {
      if (end - value !== 4) return false;
      const zeroed = Buffer.from(header).fill(0, value, end);
      if (crc32c(zeroed) !== header.readUInt32BE(value)) return false;
    }
    at = end;
  }
  return true;
}

/** RFC 9260, appendix A. A header is short, and rarely has one: no table. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1));
  }
  return ~crc >>> 0;
}
