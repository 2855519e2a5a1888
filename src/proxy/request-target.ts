/**
 * From what a program wrote to a Target. Pure. Nothing is resolved or judged here: names pass as they are, and only the
 * exit decides whether they are host names.
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { Target } from '../tunnel/stream/stream.ts';

const MAX_NAME_BYTES = 255;

/** `bytes`: 4 (IPv4) or 16 (IPv6), network order. */
export function targetOfIp(bytes: Uint8Array, port: number): Target {
  if (bytes.length === 4) return { kind: 'ipv4', host: bytes.join('.'), port };
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  return { kind: 'ipv6', host: canonicalIpv6(groups.join(':')), port };
}

/**
 * A label that is empty or begins with a hyphen: no host has such a name (RFC 1123 §2.1), and programs may take one for
 * an option.
 */
const IMPOSSIBLE_LABEL = /^[.-]|\.[.-]/;

/**
 * `name` has one char a byte (latin1). Undefined if it is too long or impossible, or holds a NUL: resolvers in C end
 * there, and would look up another name than the one that was judged.
 */
export function targetOfName(name: string, port: number): Target | undefined {
  if (name.length === 0 || name.length > MAX_NAME_BYTES || name.includes('\0')) return undefined;
  return IMPOSSIBLE_LABEL.test(name) ? undefined : { kind: 'name', host: name, port };
}

/** A port as everybody writes it: `080` and `+80` are port 80 to some readers, and to others none. */
const AUTHORITY = /^(?:\[([0-9a-fA-F:.]+)\]|([^[\]:@/?#\s]+))(?::([1-9]\d{0,4})?)?$/;

/**
 * `host`, `host:port`, `[ipv6]:port` (RFC 3986 §3.2 without user information, which RFC 9110 §4.2.4 has a recipient
 * refuse from an untrusted source). Without a default the port must be there (CONNECT, RFC 9110 §9.3.6). Undefined if
 * malformed.
 */
export function targetOfAuthority(authority: string, defaultPort?: number): Target | undefined {
  const [matched, bracketed, plain = '', digits = ''] = AUTHORITY.exec(authority) ?? [];
  const port = digits === '' ? defaultPort : Number(digits);
  if (matched === undefined || port === undefined || port > 65_535) return undefined;
  if (bracketed !== undefined) {
    return isIPv6(bracketed) ? { kind: 'ipv6', host: canonicalIpv6(bracketed), port } : undefined;
  }
  return isIPv4(plain) ? { kind: 'ipv4', host: plain, port } : targetOfName(plain, port);
}

/** RFC 5952 §4; `text` is an IPv6 address. The URL standard serialises hosts so. */
function canonicalIpv6(text: string): string {
  return new URL(`http://[${text}]`).hostname.slice(1, -1);
}
