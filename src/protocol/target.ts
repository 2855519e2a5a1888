/** Where a stream leads, and its form in OPEN (docs/protocol.md §4; the kinds are those of RFC 1928 §5). Pure. */
import type { IpBytes } from '../net/ip.ts';

/** The host is exactly what the program asked for: only the exit checks and resolves it. */
export type Target =
  | { readonly kind: 'ip'; readonly ip: IpBytes; readonly port: number }
  /** `name`: 1 to 255 latin1 bytes, unchecked: only the exit's policy makes a host name of them. `port`: 0 to 65535. */
  | { readonly kind: 'name'; readonly name: string; readonly port: number };

const KIND = { ipv4: 1, name: 3, ipv6: 4 } as const;

/** The bytes of the host; undefined if the target cannot be written: an address or a name of a wrong length. */
export function encodeHost(target: Target): { kind: number; host: Uint8Array } | undefined {
  if (target.kind === 'name') {
    const host = nameBytes(target.name);
    return host && { kind: KIND.name, host };
  }
  const { ip } = target;
  if (ip.length === 4) return { kind: KIND.ipv4, host: ip };
  return ip.length === 16 ? { kind: KIND.ipv6, host: ip } : undefined;
}

function nameBytes(name: string): Uint8Array | undefined {
  const wide = [...name].some((char) => char.charCodeAt(0) > 0xff);
  return wide || name.length < 1 || name.length > 255 ? undefined : Buffer.from(name, 'latin1');
}

/** The reverse, of bytes that are only lent; undefined where kind and length do not belong together. */
export function decodeHost(kind: number, host: Uint8Array, port: number): Target | undefined {
  const isIp = (kind === KIND.ipv4 && host.length === 4) || (kind === KIND.ipv6 && host.length === 16);
  if (isIp) return { kind: 'ip', ip: new Uint8Array(host), port };
  if (kind !== KIND.name || host.length < 1 || host.length > 255) return undefined;
  return { kind: 'name', name: Buffer.from(host).toString('latin1'), port };
}
