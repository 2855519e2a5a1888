/** ATYP, address and port, as SOCKS5 writes them in requests, replies and datagrams (RFC 1928 §5). Pure. */
import type { FaultName } from '../errors.ts';
import type { Target } from '../tunnel/stream/stream.ts';
import { targetOfIp, targetOfName } from './request-target.ts';

const TYPE = { ipv4: 1, name: 3, ipv6: 4 } as const;
/** Bytes of an address by its type; a name has a length byte. */
const ADDRESS_BYTES: Readonly<Record<number, number>> = { [TYPE.ipv4]: 4, [TYPE.ipv6]: 16 };

export type SocksAddress =
  | { readonly kind: 'incomplete' }
  /** `end`: the index of the first byte behind the port. */
  | { readonly kind: 'address'; readonly target: Target; readonly end: number }
  | { readonly kind: 'refused'; readonly fault: FaultName };

const INCOMPLETE: SocksAddress = { kind: 'incomplete' };

/** @param at the index of ATYP */
export function readSocksAddress(bytes: Buffer, at: number): SocksAddress {
  const type = bytes[at];
  if (type === undefined) return INCOMPLETE;
  if (type === TYPE.name) return readName(bytes, at + 1);
  const length = ADDRESS_BYTES[type];
  if (length === undefined) return { kind: 'refused', fault: 'proxy-address-type' };
  const portAt = at + 1 + length;
  if (bytes.length < portAt + 2) return INCOMPLETE;
  const target = targetOfIp(bytes.subarray(at + 1, portAt), bytes.readUInt16BE(portAt));
  return { kind: 'address', target, end: portAt + 2 };
}

/** A NUL or an empty name is refused before the rest has come, like the other faults. */
function readName(bytes: Buffer, at: number): SocksAddress {
  const length = bytes[at];
  if (length === undefined) return INCOMPLETE;
  const portAt = at + 1 + length;
  const name = bytes.subarray(at + 1, portAt);
  if (length === 0 || name.includes(0)) return { kind: 'refused', fault: 'dial-bad-target' };
  if (bytes.length < portAt + 2) return INCOMPLETE;
  const target = targetOfName(name.toString('latin1'), bytes.readUInt16BE(portAt));
  return target === undefined
    ? { kind: 'refused', fault: 'dial-bad-target' }
    : { kind: 'address', target, end: portAt + 2 };
}

/** How many bytes `writeSocksAddress` writes. */
export function socksAddressLength(target: Target): number {
  return target.kind === 'ip' ? 3 + target.ip.length : 4 + target.name.length;
}

/** Returns the index behind what it has written at `at`. The target is one that OPEN can carry (protocol/target.ts). */
export function writeSocksAddress(into: Buffer, at: number, target: Target): number {
  if (target.kind === 'ip') {
    into[at] = target.ip.length === 4 ? TYPE.ipv4 : TYPE.ipv6;
    into.set(target.ip, at + 1);
  } else {
    into[at] = TYPE.name;
    into[at + 1] = target.name.length;
    into.write(target.name, at + 2, 'latin1');
  }
  const end = at + socksAddressLength(target);
  into.writeUInt16BE(target.port, end - 2);
  return end;
}
