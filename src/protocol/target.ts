/**
 * Where a stream leads, and its form in an OPEN frame (docs/protocol.md §4; the kinds are those of RFC 1928 §5). Pure.
 */
import { formatIp, parseIpv4, parseIpv6 } from '../net/ip.ts';

/** The host is exactly what the program asked for: it is judged and resolved at the exit alone. */
export interface Target {
  /**
   * `name`: 1 to 255 bytes, one char each (latin1), unchecked: only the exit's policy makes a host name of them.
   * `ipv4`, `ipv6`: canonical text of a literal.
   */
  readonly kind: 'name' | 'ipv4' | 'ipv6';
  readonly host: string;
  /** 0 to 65535. */
  readonly port: number;
}

const KIND = { ipv4: 1, name: 3, ipv6: 4 } as const;

/**
 * The bytes of the host, or undefined if the target cannot be written: a name without or with too many bytes, no IP
 * literal.
 */
export function encodeHost(target: Target): { kind: number; host: Uint8Array } | undefined {
  const host = hostBytes(target);
  return host && { kind: KIND[target.kind], host };
}

function hostBytes(target: Target): Uint8Array | undefined {
  switch (target.kind) {
    case 'ipv4':
      return parseIpv4(target.host);
    case 'ipv6':
      return parseIpv6(target.host);
    case 'name':
      return nameBytes(target.host);
  }
}

function nameBytes(name: string): Uint8Array | undefined {
  const wide = [...name].some((char) => char.charCodeAt(0) > 0xff);
  return wide || name.length < 1 || name.length > 255 ? undefined : Buffer.from(name, 'latin1');
}

/** The reverse; undefined where kind and length do not belong together. */
export function decodeHost(kind: number, host: Uint8Array, port: number): Target | undefined {
  if (kind === KIND.ipv4 && host.length === 4) return { kind: 'ipv4', host: formatIp(host), port };
  if (kind === KIND.ipv6 && host.length === 16) return { kind: 'ipv6', host: formatIp(host), port };
  if (kind === KIND.name && host.length >= 1 && host.length <= 255) {
    return { kind: 'name', host: Buffer.from(host).toString('latin1'), port };
  }
  return undefined;
}
