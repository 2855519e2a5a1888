/**
 * The rules by which an access entry opens ports at the exit: `ADDRESS:PORTS`. Reads them, and says what is allowed.
 * Pure: it knows nothing of what is listened on already.
 *
 *   ADDRESS  `*` | `localhost` | IPV4 | `[`IPV6`]`
 *   PORTS    `*` | (PORT | FIRST`-`LAST), separated by commas
 *
 * `0.0.0.0` covers every IPv4 address, `[::]` and `*` every address. The ports `*` are those from 1024 on.
 */
import { WstunError } from '../../errors.ts';
import { type IpBytes, parseIp, parseIpv4, parseIpv6, sameIp, unmapIp } from '../../net/ip.ts';
import { isUnspecified } from '../../net/special-ranges.ts';
import type { Target } from '../../tunnel/stream/stream.ts';
import { type Fail, includesPort, mergeRanges, type PortRange, parsePorts } from '../ports.ts';
import { isLocalhostName } from '../special-names.ts';

export interface ListenRule {
  /** One or several; unspecified ones cover others. */
  readonly addresses: readonly IpBytes[];
  /** Rising, without overlaps. */
  readonly ports: readonly PortRange[];
}

const ANY_IPV6 = new Uint8Array(16);
const LOCALHOST: readonly IpBytes[] = ['127.0.0.1', '::1'].flatMap((text) => parseIp(text) ?? []);
/** Those that need no privilege on any system. */
const UNPRIVILEGED: readonly PortRange[] = [{ first: 1024, last: 65_535 }];

/** As of a rule for targets. An error quotes it. */
const MAX_RULE_CHARS = 1024;

const FIX =
  'Write ADDRESS:PORTS, where the invite may listen: 127.0.0.1:8000-8999, localhost:8080,9090, [::1]:8080, 0.0.0.0:8443 for all IPv4 addresses, or *:8443 for all.';

/** Throws `bad-rule`, which quotes the rule and says what is wrong with it. */
export function parseListenRule(text: string): ListenRule {
  const fail = (why: string): never => {
    throw new WstunError('bad-rule', `${JSON.stringify(text.slice(0, 300))}: ${why}`, { fix: FIX });
  };
  if (text.length > MAX_RULE_CHARS) fail(`it is longer than ${MAX_RULE_CHARS} characters`);
  const [, host = '', ports = ''] = /^(\[[^\]]*\]|[^:[\]]*):([^:]*)$/.exec(text) ?? fail('it is not ADDRESS:PORTS');
  return { addresses: parseAddress(host, fail), ports: ports === '*' ? UNPRIVILEGED : parsePorts(ports, fail) };
}

function parseAddress(text: string, fail: Fail): readonly IpBytes[] {
  if (text === '*') return [ANY_IPV6];
  if (text === 'localhost') return LOCALHOST;
  if (text.includes('/')) fail('it must name an address of this machine, not a network');
  const ip = text.startsWith('[') ? parseIpv6(text.slice(1, -1)) : parseIpv4(text);
  return ip === undefined
    ? fail('its host must be an IPv4 address, an IPv6 address in brackets, localhost or *')
    : [unmapIp(ip)];
}

/** Where a client that names this would listen; undefined: nowhere on a machine of its own accord. */
export function listenAddressOf(target: Target): IpBytes | undefined {
  if (target.kind === 'ip') return unmapIp(target.ip);
  const name = target.name.toLowerCase();
  if (name === '*') return ANY_IPV6;
  return isLocalhostName(name) ? LOCALHOST[0] : parseIp(name);
}

/** The ports at which the rules allow to listen at this address. Rising, without overlaps. */
export function allowedPorts(rules: readonly ListenRule[], ip: IpBytes): readonly PortRange[] {
  return mergeRanges(
    rules.flatMap(({ addresses, ports }) => (addresses.some((each) => covers(each, ip)) ? ports : [])),
  );
}

/** Port 0: whether there is any. */
export function mayListen(rules: readonly ListenRule[], ip: IpBytes, port: number): boolean {
  const ports = allowedPorts(rules, ip);
  return port === 0 ? ports.length > 0 : includesPort(ports, port);
}

function covers(allowed: IpBytes, ip: IpBytes): boolean {
  if (sameIp(allowed, ip)) return true;
  return isUnspecified(allowed) && (allowed.length === 16 || ip.length === 4);
}
