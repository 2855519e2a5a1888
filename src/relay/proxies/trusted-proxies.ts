/**
 * Whose word counts about where a request comes from: the proxies that the relay's owner has named. Pure. Reads
 * `X-Forwarded-For` and `Forwarded` (RFC 7239) from the right: each proxy adds the address that called it, so that what
 * is left of the first address that is no proxy's own may be anyone's invention.
 */
import { WstunError } from '../../errors.ts';
import { parseSocketAddress } from '../../net/address-source.ts';
import {
  formatIp,
  type IpBytes,
  type Network,
  network,
  networkBase,
  networkContains,
  parseIp,
  sameIp,
} from '../../net/ip.ts';

const LOOPBACK: readonly Network[] = [network('127.0.0.0/8'), network('::1/128')];
/** Proxies in a row. */
const MAX_HOPS = 32;

export class TrustedProxies {
  private readonly networks: readonly Network[];

  /** @param texts `10.0.0.0/8`, `2001:db8::1`, or `loopback` @throws WstunError bad-option */
  constructor(texts: readonly string[]) {
    this.networks = texts.flatMap(networksOf);
  }

  get isEmpty(): boolean {
    return this.networks.length === 0;
  }

  /** @param address as of a socket */
  has(address: string | undefined): boolean {
    const ip = address === undefined ? undefined : parseSocketAddress(address);
    return ip !== undefined && this.hasIp(ip);
  }

  /**
   * From where a request comes, by what trusted proxies say in its header fields. Undefined: no more is known than
   * whose connection it came on.
   */
  clientOf(headers: Readonly<Record<string, unknown>>): string | undefined {
    // A front sets one of the two, and may pass on the other as it came. Most set the first.
    const list = headers['x-forwarded-for'];
    const hops = list === undefined ? forwardedHops(headers.forwarded) : listOf(list);
    let client: IpBytes | undefined;
    for (const hop of hops.reverse().slice(0, MAX_HOPS)) {
      const ip = ipOf(hop);
      if (ip === undefined) break;
      client = ip;
      if (!this.hasIp(ip)) break;
    }
    return client && formatIp(client);
  }

  private hasIp(ip: IpBytes): boolean {
    return this.networks.some((each) => networkContains(each, ip));
  }
}

function networksOf(text: string): readonly Network[] {
  if (text === 'loopback') return LOOPBACK;
  const [, address = '', bits] = /^\[?([0-9a-fA-F:.]+)\]?(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const base = parseIp(address);
  const length = base === undefined ? 0 : Number(bits ?? 8 * base.length);
  if (base === undefined || length > 8 * base.length || !sameIp(base, networkBase(base, length)))
    throw new WstunError(
      'bad-option',
      `--trust-proxy needs a network such as 10.0.0.0/8, an address, or loopback; not ${text}`,
    );
  return [{ base, bits: length }];
}

function listOf(value: unknown): string[] {
  return typeof value === 'string' ? value.split(',').map((hop) => hop.trim()) : [];
}

/** The `for` of each element (RFC 7239 §4); empty where an element has none, or is malformed. */
function forwardedHops(value: unknown): string[] {
  if (typeof value !== 'string') return [];
  // No comma or semicolon is legal inside of the quotes of a node: an IPv6 address with a port has neither.
  return value.split(',').map((element) => {
    for (const pair of element.split(';')) {
      const [, name = '', node = ''] = /^\s*([A-Za-z]+)="?([^"\\]*)"?\s*$/.exec(pair) ?? [];
      if (name.toLowerCase() === 'for') return node;
    }
    return '';
  });
}

/** An address, with a port or without. */
function ipOf(hop: string): IpBytes | undefined {
  const [, bracketed, dotted] = /^(?:\[([^\]]+)\](?::\d{1,5})?|([\d.]+):\d{1,5})$/.exec(hop) ?? [];
  return parseSocketAddress(bracketed ?? dotted ?? hop);
}
