/**
 * Addresses of sockets as Linux has them: sockaddr_in (ip(7)), sockaddr_in6 (ipv6(7)), and the control message that has
 * a datagram's original destination (cmsg(3)). Bytes only; touches no socket.
 */
import { endianness } from 'node:os';
import { type IpBytes, parseIp } from '../net/ip.ts';

/** An address and a port, as bytes. */
export interface Place {
  readonly ip: IpBytes;
  readonly port: number;
}

export const AF_INET = 2;
export const AF_INET6 = 10;
/** Of sockaddr_in6, the longer one. */
export const ADDRESS_BYTES = 28;
const IPV4_BYTES = 16;

/** The family of a socket is in the order of the machine, the port in that of the network. */
const IS_LITTLE = endianness() === 'LE';

export function encodeAddress({ ip, port }: Place): Buffer {
  const isIpv4 = ip.length === 4;
  const bytes = Buffer.alloc(isIpv4 ? IPV4_BYTES : ADDRESS_BYTES);
  const family = isIpv4 ? AF_INET : AF_INET6;
  if (IS_LITTLE) bytes.writeUInt16LE(family, 0);
  else bytes.writeUInt16BE(family, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ip, isIpv4 ? 4 : 8);
  return bytes;
}

/** Copies the address. Undefined for another family, or too few bytes. */
export function decodeAddress(bytes: Buffer): Place | undefined {
  if (bytes.length < IPV4_BYTES) return undefined;
  const family = IS_LITTLE ? bytes.readUInt16LE(0) : bytes.readUInt16BE(0);
  const port = bytes.readUInt16BE(2);
  if (family === AF_INET) return { ip: new Uint8Array(bytes.subarray(4, 8)), port };
  if (family !== AF_INET6 || bytes.length < 24) return undefined;
  return { ip: new Uint8Array(bytes.subarray(8, 24)), port };
}

/** How a machine lays out a control message: `struct cmsghdr` is a size_t and two ints, then padding to a size_t. */
export interface ControlLayout {
  /** 4 or 8. */
  readonly sizeBytes: number;
}

/** What a datagram brings with it, by level and type. */
export interface ControlWish {
  readonly level: number;
  readonly type: number;
}

/**
 * The address in the first control message of that kind.
 * @param bytes as long as the kernel has filled them
 */
export function addressInControl(
  bytes: Buffer,
  { level, type }: ControlWish,
  layout: ControlLayout,
): Place | undefined {
  const { sizeBytes } = layout;
  const headerBytes = sizeBytes + 8;
  for (let at = 0; at + headerBytes <= bytes.length; ) {
    const length = readSize(bytes, at, sizeBytes);
    if (length < headerBytes || at + length > bytes.length) return undefined;
    if (readInt(bytes, at + sizeBytes) === level && readInt(bytes, at + sizeBytes + 4) === type)
      return decodeAddress(bytes.subarray(at + headerBytes, at + length));
    at += Math.ceil(length / sizeBytes) * sizeBytes;
  }
  return undefined;
}

/** Control messages are short: the lower half of a size_t of 8 bytes holds them. */
function readSize(bytes: Buffer, at: number, sizeBytes: number): number {
  if (sizeBytes === 4) return readUnsigned(bytes, at);
  return IS_LITTLE ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at + 4);
}

function readUnsigned(bytes: Buffer, at: number): number {
  return IS_LITTLE ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
}

function readInt(bytes: Buffer, at: number): number {
  return IS_LITTLE ? bytes.readInt32LE(at) : bytes.readInt32BE(at);
}

/** From an address and a port as Node has them. Undefined where there is none: the socket is closed. */
export function placeOf(address: string | undefined, port: number | undefined): Place | undefined {
  const ip = address === undefined ? undefined : parseIp(address.replace(/%.*$/, ''));
  return ip === undefined || port === undefined ? undefined : { ip, port };
}
