/**
 * Which questions an exit passes on, and which answers: what policy.ts would let be dialled, at whatever port. Pure.
 *
 * One thing is open here and not there: a public address of the exit's own machine. It is no secret, and the name of
 * the relay must resolve, also for who asks through it.
 */
import type { DnsQuestion } from '../../dns/wire.ts';
import { type IpBytes, parseIpv4, parseIpv6, unmapIp } from '../../net/ip.ts';
import { isUnspecified, specialRange } from '../../net/special-ranges.ts';
import { type Rule, ruleCoversAddress, ruleCoversName } from '../rules.ts';
import { isSpecialName } from '../special-names.ts';

export interface NameDecision {
  readonly isAllowed: boolean;
  /** A rule names it, and so opens every address that it has. */
  readonly isVouched: boolean;
}

/** @param name of a question, as text */
export function decideName(name: string, rules: readonly Rule[]): NameDecision {
  const isVouched = rules.some((rule) => ruleCoversName(rule, name));
  const reversed = addressOfReverse(name);
  const isClosed = reversed === undefined ? isSpecialName(name) : !mayShow(reversed, rules);
  return { isAllowed: isVouched || !isClosed, isVouched };
}

/** Whether an answer may lead there. */
export function mayShow(address: IpBytes, rules: readonly Rule[]): boolean {
  const ip = unmapIp(address);
  if (isUnspecified(ip)) return false;
  return specialRange(ip) === undefined || rules.some((rule) => ruleCoversAddress(rule, ip));
}

/** Lower case, without a final dot; bytes of labels that are dots do not show, which makes a check only stricter. */
export function nameOf({ name }: DnsQuestion): string {
  const labels: string[] = [];
  for (let at = 0; name.charCodeAt(at) > 0; at += 1 + name.charCodeAt(at))
    labels.push(name.slice(at + 1, at + 1 + name.charCodeAt(at)));
  return labels.join('.');
}

/**
 * Of `1.2.0.192.in-addr.arpa`: 192.0.2.1; of a zone above, or of a name below one that is no address (RFC 2317), the
 * first address in the zone. Undefined: it is no such name.
 */
function addressOfReverse(name: string): IpBytes | undefined {
  const labels = name.split('.').toReversed();
  const [top, second, ...rest] = labels;
  if (top !== 'arpa') return undefined;
  if (second === 'in-addr') {
    const octets = leading(rest, (label) => /^\d{1,3}$/.test(label) && Number(label) < 256).slice(0, 4);
    return octets.length === 0 ? undefined : parseIpv4([...octets.map(Number), 0, 0, 0].slice(0, 4).join('.'));
  }
  if (second !== 'ip6') return undefined;
  const digits = leading(rest, (label) => /^[0-9a-f]$/.test(label)).slice(0, 32);
  if (digits.length === 0) return undefined;
  return parseIpv6((digits.join('').padEnd(32, '0').match(/.{4}/g) ?? []).join(':'));
}

/** Those before the first one of another form. */
function leading(labels: readonly string[], isRight: (label: string) => boolean): readonly string[] {
  const end = labels.findIndex((label) => !isRight(label));
  return end < 0 ? labels : labels.slice(0, end);
}
