/** ATYP, address and port, as SOCKS5 writes them in requests, replies and datagrams (RFC 1928 §5). Pure. */
import type { FaultName } from '../errors.ts';
import type { Target } from '../tunnel/stream/stream.ts';
import { targetOfIp, targetOfName } from './request-target.ts';

/** The values of ATYP. */
export interface AddressTypes {
  readonly ipv4: number;
  readonly name: number;
  readonly ipv6: number;
}

const SOCKS5_TYPES: AddressTypes = { ipv4: 1, name: 3, ipv6: 4 };

export type SocksAddress =
  | { readonly kind: 'incomplete' }
  /** `end`: the index of the first byte behind the port. */
  | { readonly kind: 'address'; readonly target: Target; readonly end: number }
  /** `end`: the same, where it is known. */
  | { readonly kind: 'refused'; readonly fault: FaultName; readonly end?: number };

const INCOMPLETE: SocksAddress = { kind: 'incomplete' };

/** @param at the index of ATYP */
export function readSocksAddress(bytes: Buffer, at: number, types = SOCKS5_TYPES): SocksAddress {
  const type = bytes[at];
  switch (type) {
    case undefined:
      return INCOMPLETE;
    case types.ipv4:
      return readIp(bytes, at + 1, 4);
    case types.ipv6:
      return readIp(bytes, at + 1, 16);
    case types.name:
      return readName(bytes, at + 1);
    default:
      return { kind: 'refused', fault: 'proxy-address-type' };
  }
}

function readIp(bytes: Buffer, at: number, length: number): SocksAddress {
  const portAt = at + length;
  if (bytes.length < portAt + 2) return INCOMPLETE;
  return {
    kind: 'address',
    target: targetOfIp(bytes.subarray(at, portAt), bytes.readUInt16BE(portAt)),
    end: portAt + 2,
  };
}

/** A NUL or an empty name is refused before the rest has come, like the other faults. */
function readName(bytes: Buffer, at: number): SocksAddress {
  const length = bytes[at];
  if (length === undefined) return INCOMPLETE;
  const portAt = at + 1 + length;
  const end = portAt + 2;
  const name = bytes.subarray(at + 1, portAt);
  if (length === 0 || name.includes(0)) return { kind: 'refused', fault: 'dial-bad-target', end };
  if (bytes.length < end) return INCOMPLETE;
  const target = targetOfName(name.toString('latin1'), bytes.readUInt16BE(portAt));
  return target === undefined ? { kind: 'refused', fault: 'dial-bad-target', end } : { kind: 'address', target, end };
}

/** How many bytes `writeSocksAddress` writes. */
export function socksAddressLength(target: Target): number {
  return target.kind === 'ip' ? 3 + target.ip.length : 4 + target.name.length;
}

/** Returns the index behind what it has written at `at`. The target is one that OPEN can carry (protocol/target.ts). */
export function writeSocksAddress(into: Buffer, at: number, target: Target, types = SOCKS5_TYPES): number {
  if (target.kind === 'ip') {
    into[at] = target.ip.length === 4 ? types.ipv4 : types.ipv6;
    into.set(target.ip, at + 1);
  } else {
    into[at] = types.name;
    into[at + 1] = target.name.length;
    into.write(target.name, at + 2, 'latin1');
  }
  const end = at + socksAddressLength(target);
  into.writeUInt16BE(target.port, end - 2);
  return end;
}
