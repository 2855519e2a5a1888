/**
 * The rules by which an access entry opens more than the default: `HOST[:PORTS]`. Reads them, and says
 * what a rule covers. Pure. The order of the checks is in policy.ts.
 *
 *   HOST   `*` | NAME | `*.NAME` | IPV4[/BITS] | `[`IPV6[/BITS]`]`
 *   PORTS  `*` | (PORT | FIRST`-`LAST), separated by commas
 *
 * No ports, or `*`: all of them. `*.NAME` covers every name below NAME, at any depth, but not NAME itself.
 */
import { WstunError } from '../errors.ts';
import {
  formatIp,
  type IpBytes,
  type Network,
  networkBase,
  networkContains,
  parseIp,
  sameIp,
  unmapIp,
} from '../net/ip.ts';
import { type Fail, includesPort, type PortRange, parsePorts } from './ports.ts';
import { parseHostText } from './target-host.ts';

type RuleHost =
  | { readonly kind: 'any' }
  | { readonly kind: 'name'; readonly name: string }
  /** The names below `name`. */
  | { readonly kind: 'below'; readonly name: string }
  | { readonly kind: 'network'; readonly network: Network };

export interface Rule {
  readonly host: RuleHost;
  /** Rising, without overlaps; or all. */
  readonly ports: readonly PortRange[] | 'all';
}

/** Longest rule text, characters: the longest name, and more ports than anyone lists. An error quotes it. */
const MAX_RULE_CHARS = 1024;

/** Throws `bad-rule`, which quotes the rule and says what is wrong with it. */
export function parseRule(text: string): Rule {
  const fail = (why: string): never => {
    throw new WstunError('bad-rule', `${JSON.stringify(text.slice(0, 300))}: ${why}`);
  };
  if (text === '') fail('it is empty');
  if (text.length > MAX_RULE_CHARS) fail(`it is longer than ${MAX_RULE_CHARS} characters`);
  const { host, ports } = splitRule(text, fail);
  return {
    host: parseRuleHost(host, fail),
    ports: ports === undefined || ports === '*' ? 'all' : parsePorts(ports, fail),
  };
}

/** `[V6]/BITS` is read as `[V6/BITS]`: both are in use elsewhere. */
function splitRule(text: string, fail: Fail): { host: string; ports: string | undefined } {
  const bracketed = /^\[([^\]]*)\](\/\d+)?(?::(.*))?$/.exec(text);
  if (bracketed) return { host: `[${bracketed[1]}${bracketed[2] ?? ''}]`, ports: bracketed[3] };
  if (text.startsWith('[')) fail('only a colon and ports may follow the bracket');
  const [host = '', ports, ...more] = text.split(':');
  if (more.length > 0) fail(`write an IPv6 address in brackets, as in [fd00::/8]:443`);
  return { host, ports };
}

function parseRuleHost(text: string, fail: Fail): RuleHost {
  if (text === '*') return { kind: 'any' };
  if (text.startsWith('*.')) return { kind: 'below', name: parseRuleName(text.slice(2), fail) };
  if (text.includes('*')) fail('a star must be alone, or before the first dot as in *.corp.example');
  if (text.startsWith('[')) return { kind: 'network', network: parseNetwork(text.slice(1, -1), 16, fail) };
  if (text.includes('/') || parseIp(text)) return { kind: 'network', network: parseNetwork(text, 4, fail) };
  return { kind: 'name', name: parseRuleName(text, fail) };
}

function parseRuleName(text: string, fail: Fail): string {
  const host = parseHostText(text);
  if (host.kind === 'name') return host.name;
  if (/[^\p{ASCII}]/u.test(text)) return fail('write the name in its ASCII form, xn--…');
  return fail(host.kind === 'rejected' ? `its host is not valid (${host.reason})` : 'a name must follow *.');
}

function parseNetwork(text: string, length: 4 | 16, fail: Fail): Network {
  const [address = '', bitsText, ...more] = text.split('/');
  const ip = parseIp(address);
  if (ip?.length !== length || more.length > 0)
    return fail(`its host is not an ${length === 4 ? 'IPv4' : 'IPv6'} address`);
  if (unmapIp(ip) !== ip) fail(`write it as the IPv4 address ${formatIp(unmapIp(ip))}`);
  const bits = bitsText === undefined ? 8 * length : parseBits(bitsText, 8 * length, fail);
  const base = networkBase(ip, bits);
  if (!sameIp(base, ip)) fail(`bits are set after the /${bits}; the network is ${formatNetwork({ base, bits })}`);
  return { base, bits };
}

function parseBits(text: string, most: number, fail: Fail): number {
  const bits = Number(text);
  return /^(0|[1-9]\d{0,2})$/.test(text) && bits <= most ? bits : fail(`the prefix length must be 0 to ${most}`);
}

function formatNetwork({ base, bits }: Network): string {
  const text = bits === 8 * base.length ? formatIp(base) : `${formatIp(base)}/${bits}`;
  return base.length === 4 ? text : `[${text}]`;
}

/** Whether the rule opens this address, however it was found. `ip` is unmapped. */
export function ruleAllowsAddress(rule: Rule, ip: IpBytes, port: number): boolean {
  return coversPort(rule, port) && ruleCoversAddress(rule, ip);
}

/** Whether it opens some port of this address. `ip` is unmapped. */
export function ruleCoversAddress({ host }: Rule, ip: IpBytes): boolean {
  return host.kind === 'any' || (host.kind === 'network' && networkContains(host.network, ip));
}

/** Whether the rule vouches for this name: for whatever addresses it resolves to, private ones too. */
export function ruleAllowsName(rule: Rule, name: string, port: number): boolean {
  return coversPort(rule, port) && ruleCoversName(rule, name);
}

/** Whether it vouches for some port of this name. */
export function ruleCoversName({ host }: Rule, name: string): boolean {
  if (host.kind === 'below') return name.endsWith(`.${host.name}`);
  return host.kind === 'any' || (host.kind === 'name' && host.name === name);
}

function coversPort({ ports }: Rule, port: number): boolean {
  return ports === 'all' || includesPort(ports, port);
}
