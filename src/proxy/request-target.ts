/** From what a program wrote to a Target. Pure. Nothing is resolved: names pass as they are. */
import { type IpBytes, parseIpv4, parseIpv6 } from '../net/ip.ts';
import type { Target } from '../tunnel/stream/stream.ts';

const MAX_NAME_BYTES = 255;

/** `ip`: copied, as it is a part of what was read. */
export function targetOfIp(ip: IpBytes, port: number): Target {
  return { kind: 'ip', ip: new Uint8Array(ip), port };
}

/** A label that is empty or begins with a hyphen: no host name (RFC 1123 §2.1), perhaps taken for an option. */
const IMPOSSIBLE_LABEL = /^[.-]|\.[.-]/;

/** One char a byte (latin1). Undefined if too long, impossible, or with a NUL, where resolvers in C would end. */
export function targetOfName(name: string, port: number): Target | undefined {
  if (name.length === 0 || name.length > MAX_NAME_BYTES || name.includes('\0')) return undefined;
  return IMPOSSIBLE_LABEL.test(name) ? undefined : { kind: 'name', name, port };
}

/** One spelling of a port: to some readers `080` and `+80` are port 80, and to others none. */
const AUTHORITY = /^(?:\[([0-9a-fA-F:.]+)\]|([^[\]:@/?#\s]+))(?::([1-9]\d{0,4})?)?$/;

/**
 * `host`, `host:port`, `[ipv6]:port` (RFC 3986 §3.2 without user information, which RFC 9110 §4.2.4 has a recipient
 * reject from an untrusted source). Without a default the port must be there (CONNECT, RFC 9110 §9.3.6). Undefined if
 * malformed.
 */
export function targetOfAuthority(authority: string, defaultPort?: number): Target | undefined {
  const [matched, bracketed, plain = '', digits = ''] = AUTHORITY.exec(authority) ?? [];
  const port = digits === '' ? defaultPort : Number(digits);
  if (matched === undefined || port === undefined || port > 65_535) return undefined;
  const ip = bracketed === undefined ? parseIpv4(plain) : parseIpv6(bracketed);
  if (ip) return { kind: 'ip', ip, port };
  return bracketed === undefined ? targetOfName(plain, port) : undefined;
}
