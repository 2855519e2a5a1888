/**
 * What an exit dials: decides on a requested target, then on the addresses that its name resolved to. Pure; rules and
 * the exit's own endpoints are passed in. The order of the checks is the contract:
 *
 *   1. the bytes must be a host (target-host.ts), the port 1 to 65535
 *   2. a special-use name needs a rule that names it (special-names.ts). Below a search domain a name has full names:
 *      each is checked as if the program had asked for it, and a rule may name either
 *   3. the name is resolved once, to the first full name that has addresses; every answer is checked, and one that is
 *      not allowed refuses the target
 *   4. for each address: never the unspecified one, nor for UDP one of many machines; never a port of the exit's own;
 *      then what a rule opens; then only public addresses that are not the exit's own, and not on a port that is closed
 *      by default
 *
 * Rules only ever open more. Addresses are checked and dialled as the same bytes: nothing is resolved twice, so an
 * answer that changes (DNS rebinding) has no effect.
 */
import type { WireFaultName } from '../errors.ts';
import { type IpBytes, sameIp, unmapIp } from '../net/ip.ts';
import { embeddedIpv4, isToMany, isUnspecified, rangeOf, specialRange } from '../net/special-ranges.ts';
import type { Target } from '../tunnel/stream/stream.ts';
import { type Rule, ruleAllowsAddress, ruleAllowsName } from './rules.ts';
import { isSpecialName } from './special-names.ts';
import { parseHost } from './target-host.ts';

/** Where this program itself can be reached. A stream to it would lead back here. */
export interface OwnEndpoints {
  /** Of the machine's interfaces, and its public address where that is known; loopback need not be listed. */
  readonly addresses: readonly IpBytes[];
  /** Ports that lead to this program at any of those addresses: its listeners, and of TCP that of its public URL. */
  readonly ports: readonly number[];
}

interface Refusal {
  readonly kind: 'refuse';
  readonly fault: WireFaultName;
  /** For the exit's own log; the peer is told only the fault. */
  readonly reason: string;
}

interface NameToAsk {
  readonly name: string;
  /** A rule opens the name with this port, and so every address it resolves to. */
  readonly vouched: boolean;
}

export interface ResolveDecision {
  readonly kind: 'resolve';
  /** To be tried in this order; at least one. */
  readonly names: readonly NameToAsk[];
  /** If none of these exists: here a single label is a host of a special-use domain, which was not asked for. */
  readonly ifUnknown: Refusal | undefined;
}

export type TargetDecision = ResolveDecision | AddressDecision;

export type AddressDecision =
  /** In the order given, each once. */
  { readonly kind: 'dial'; readonly addresses: readonly IpBytes[] } | Refusal;

export type Transport = 'tcp' | 'udp';

/**
 * Closed unless a rule opens them: mail (25, 465, 587), as spam gets the exit on block lists, and SMB (worms). UDP has
 * the names and datagrams of NetBIOS besides, which tell strangers about a machine. Ports of reflection attacks are
 * open: no datagram leaves here with a forged source.
 */
const CLOSED_PORTS: Readonly<Record<Transport, ReadonlySet<number>>> = {
  tcp: new Set([25, 465, 587, 445]),
  udp: new Set([25, 465, 587, 445, 137, 138]),
};

export interface TargetContext {
  /** Default: TCP. */
  readonly transport?: Transport;
  readonly rules: readonly Rule[];
  readonly own: OwnEndpoints;
  /** From the search list of the machine, in the order in which they are tried; the name itself is one of them. */
  readonly fullNamesOf: (name: string) => readonly string[];
}

/** Steps 1 and 2, and for a literal address step 4. */
export function checkTarget(target: Target, context: TargetContext): TargetDecision {
  const { port } = target;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return refuse('dial-bad-target', 'not a port');
  const host = parseHost(target);
  switch (host.kind) {
    case 'rejected':
      return refuse('dial-bad-target', host.reason);
    case 'address':
      return checkAddresses([host.ip], port, { ...context, vouched: false });
    case 'name':
      // With a dot at its end it is a full name already.
      return checkName(host.name, isFullName(target) ? [host.name] : context.fullNamesOf(host.name), port, context);
  }
}

function isFullName(target: Target): boolean {
  return target.kind === 'name' && target.name.endsWith('.');
}

function checkName(
  name: string,
  fullNames: readonly string[],
  port: number,
  { rules }: TargetContext,
): ResolveDecision | Refusal {
  const isNamed = (text: string) => rules.some((rule) => ruleAllowsName(rule, text, port));
  const isVouched = isNamed(name);
  const checked = fullNames.map((full) => ({ name: full, vouched: isVouched || isNamed(full) }));
  const names = checked.filter((full) => full.vouched || !isSpecialName(full.name));
  const special = refuse('dial-not-allowed', 'special-use name');
  if (names.length === 0) return special;
  const isHidden = names.length < checked.length && !name.includes('.');
  return { kind: 'resolve', names, ifUnknown: isHidden ? special : undefined };
}

export type AddressContext = Omit<TargetContext, 'fullNamesOf'> & Pick<NameToAsk, 'vouched'>;

/** Steps 3 and 4. Strict: dialling only the allowed answers would be as safe, but would reveal which they are. */
export function checkAddresses(answers: readonly IpBytes[], port: number, context: AddressContext): AddressDecision {
  const addresses: IpBytes[] = [];
  for (const answer of answers) {
    const ip = unmapIp(answer);
    const reason = reasonAgainst(ip, port, context);
    if (reason !== undefined) return refuse('dial-not-allowed', reason);
    if (!addresses.some((other) => sameIp(other, ip))) addresses.push(ip);
  }
  return addresses.length === 0 ? refuse('dial-name-failed', 'no address') : { kind: 'dial', addresses };
}

function reasonAgainst(ip: IpBytes, port: number, context: AddressContext): string | undefined {
  const { transport = 'tcp', vouched, rules, own } = context;
  if (isUnspecified(ip)) return 'unspecified address';
  if (transport === 'udp' && isToMany(ip)) return 'multicast or broadcast';
  if (own.ports.includes(port) && (rangeOf(ip) === 'loopback' || isOwn(ip, own))) return 'port of this exit';
  if (vouched || rules.some((rule) => ruleAllowsAddress(rule, ip, port))) return undefined;
  if (isOwn(ip, own)) return 'address of this exit';
  if (CLOSED_PORTS[transport].has(port)) return 'port closed by default';
  return specialRange(ip);
}

/** A NAT64 gateway leads back to the IPv4 address inside, except loopback, which would be the gateway's own. */
function isOwn(ip: IpBytes, own: OwnEndpoints): boolean {
  const inner = embeddedIpv4(ip);
  return own.addresses.some((address) => {
    const mine = unmapIp(address);
    return sameIp(mine, ip) || (inner !== undefined && sameIp(mine, inner));
  });
}

function refuse(fault: WireFaultName, reason: string): Refusal {
  return { kind: 'refuse', fault, reason };
}
