/**
 * From the bytes that a peer asks for to a host that is safe to pass on: strictly, before the policy, the resolver or
 * node:net see them. Pure.
 *
 * Labels may hold underscores, and end with a hyphen: the DNS has such hosts. None begins with a hyphen (RFC 1123
 * §2.1).
 *
 * Why so strict: node:net dials localhost for an empty host, getaddrinfo reads `127.1`, `2130706433` and full-width
 * digits as 127.0.0.1, and a NUL once ended the name early (CVE-2026-48930).
 */
import { type IpBytes, parseIp, unmapIp } from '../net/ip.ts';
import type { Target } from '../tunnel/stream/stream.ts';

export type Host =
  /** Lower case, no trailing dot, 1 to 253 bytes of letters, digits, `-`, `_` and dots; never a number. */
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'address'; readonly ip: IpBytes }
  /** `reason` never quotes what was asked for: those bytes may be anything. */
  | { readonly kind: 'rejected'; readonly reason: string };

/** RFC 1035 §2.3.4, without the root's dot. */
const MAX_NAME_BYTES = 253;
const MAX_LABEL_BYTES = 63;

export function parseHost(target: Target): Host {
  if (target.kind === 'name') return parseHostText(target.name);
  const { ip } = target;
  return ip.length === 4 || ip.length === 16 ? { kind: 'address', ip: unmapIp(ip) } : rejected('not an IP address');
}

/** The text of a host: a name, a dotted quad, an IPv6 address with or without brackets. */
export function parseHostText(text: string): Host {
  if (text.length < 1 || text.length > 255) return rejected('not 1 to 255 bytes long');
  const literal = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  if (literal.includes(':') || literal !== text) return parseIpv6Text(literal);
  const ip = parseIp(text);
  if (ip) return { kind: 'address', ip };
  return parseName(text);
}

function parseIpv6Text(text: string): Host {
  const ip = parseIp(text);
  return ip?.length === 16 ? { kind: 'address', ip: unmapIp(ip) } : rejected('not an IPv6 address');
}

function parseName(text: string): Host {
  if (!/^[A-Za-z0-9._-]+$/.test(text)) return rejected('contains characters that host names never contain');
  const name = text.replace(/\.$/, '').toLowerCase();
  const labels = name.split('.');
  if (name.length > MAX_NAME_BYTES) return rejected('longer than 253 bytes');
  if (labels.some((label) => label.length < 1 || label.length > MAX_LABEL_BYTES))
    return rejected('has a label that is not 1 to 63 bytes long');
  if (labels.some((label) => label.startsWith('-'))) return rejected('has a label that begins with a hyphen');
  if (endsInNumber(labels)) return rejected('a number that is not a dotted IPv4 address');
  return { kind: 'name', name };
}

/** WHATWG URL, "ends in a number": resolvers read such a name as an address, in one of inet_aton's many spellings. */
function endsInNumber(labels: readonly string[]): boolean {
  return /^(\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '');
}

function rejected(reason: string): Host {
  return { kind: 'rejected', reason };
}
