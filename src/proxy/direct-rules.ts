/** Which hosts the PAC file sends past the tunnel: rules as in NO_PROXY, read strictly. Pure. */
import { WstunError } from '../errors.ts';
import { parseIp } from '../net/ip.ts';

export type DirectRule =
  /** It, and every name below it: lower case, without a dot at either end. */
  | { readonly kind: 'name'; readonly name: string; readonly port: number | undefined }
  /** `base`: 4 or 16 bytes. */
  | { readonly kind: 'network'; readonly base: Uint8Array; readonly bits: number; readonly port: number | undefined };

/** Enough for a company's networks; each is compared for every URL. */
const MAX_RULES = 1_000;

const NAME = /^(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*$/;

/** @throws WstunError bad-direct-rule */
export function parseDirectRules(texts: readonly string[]): readonly DirectRule[] {
  const rules = texts.flatMap((text) => text.split(/[\s,]+/)).filter((text) => text !== '');
  if (rules.length > MAX_RULES) throw new WstunError('bad-direct-rule', `more than ${MAX_RULES} rules`);
  return rules.map(parseRule);
}

function parseRule(text: string): DirectRule {
  const { place, port } = splitPort(text);
  if (port !== undefined && (port < 1 || port > 65_535)) throw new WstunError('bad-direct-rule', text);
  const [address = '', bits, ...more] = place.split('/');
  const base = parseIp(address);
  if (base !== undefined && more.length === 0) {
    const length = bits === undefined ? base.length * 8 : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
    if (length <= base.length * 8) return { kind: 'network', base, bits: length, port };
  }
  const name = place.toLowerCase().replace(/^\*?\.|\.$/g, '');
  // A last label of digits is an address of some spelling (WHATWG URL), which would never be compared as a name.
  if (!NAME.test(name) || /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/.test(name)) throw new WstunError('bad-direct-rule', text);
  return { kind: 'name', name, port };
}

/** An IPv6 address has a port only behind brackets. */
function splitPort(text: string): { readonly place: string; readonly port: number | undefined } {
  const [, address = '', bits = '', bracketPort] = /^\[([^\]]*)\](\/\d+)?(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (address !== '') return { place: address + bits, port: portOf(bracketPort) };
  const [, place, port] = /^([^:]*):(\d{1,5})$/.exec(text) ?? [];
  return place === undefined ? { place: text, port: undefined } : { place, port: portOf(port) };
}

function portOf(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits);
}
