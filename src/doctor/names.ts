/** What the answers of name servers mean for the name of a relay. Pure. */
import { WstunError } from '../errors.ts';
import { parseIp } from '../net/ip.ts';
import { specialRange } from '../net/special-ranges.ts';
import { DialError } from '../transport/dial-obstacle.ts';
import type { NameFacts, ServerAnswer } from './probes.ts';

/** Addresses that are shown. */
const MAX_SHOWN = 4;

export interface NameVerdict {
  readonly detail: string;
  /** No program can connect to the name. */
  readonly error?: WstunError;
  /** The addresses may be those of something else, and this says why. */
  readonly doubt?: WstunError;
}

export function judgeNames(facts: NameFacts): NameVerdict {
  const { host, addresses } = facts;
  if (addresses.length === 0) {
    const error = nameFault(facts);
    return { detail: error.detail, error };
  }
  const notes = facts.servers.flatMap((answer) => noteOf(answer, addresses));
  const detail = [`${host} is ${familiesOf(addresses)}: ${shown(addresses)}`, ...notes].join('; ');
  const doubt = doubtOf(facts);
  return { detail, ...(doubt && { doubt }) };
}

/** If the relay is not found at what the name leads to: a name server that gives private addresses may have lied. */
export function suspicionOf({ host, addresses, servers }: NameFacts): WstunError | undefined {
  // What the hosts file says is meant.
  const isFromServer = servers.some((answer) => answer.addresses.some((address) => addresses.includes(address)));
  if (!isFromServer || !addresses.every(isPrivate)) return undefined;
  return new WstunError('resolver-lies', `${host} is ${shown(addresses)}, an address of a local network`);
}

function nameFault({ host, code, servers }: NameFacts): WstunError {
  const silent = servers.filter(({ fault }) => fault === 'silent').map(({ server }) => server);
  if (servers.length > 0 && silent.length === servers.length)
    return new DialError('resolver-silent', `${host}: asked ${silent.join(', ')}`, 'name');
  if (code === 'ENOTFOUND')
    return new DialError('relay-unreachable', `${host}: no such name${saidBy(servers)}`, 'name');
  if (servers.length === 0) return new DialError('resolver-silent', `${host}: this machine has no name server`, 'name');
  return new DialError('resolver-silent', `${host}${saidBy(servers)}`, 'name');
}

function saidBy(servers: readonly ServerAnswer[]): string {
  const words = servers.map((answer) => `${answer.server} ${said(answer)}`);
  return words.length === 0 ? '' : ` (${words.join('; ')})`;
}

function said({ fault, addresses }: ServerAnswer): string {
  switch (fault) {
    case 'silent':
      return 'does not answer';
    case 'unknown':
      return 'says that there is no such name';
    case 'failed':
      return 'fails';
    case undefined:
      return addresses.length === 0 ? 'has no address for it' : `says ${shown(addresses)}`;
    default:
      return fault satisfies never;
  }
}

/** Of a server that says something else than what programs get. */
function noteOf(answer: ServerAnswer, addresses: readonly string[]): readonly string[] {
  const isAlike = answer.fault === undefined && answer.addresses.some((address) => addresses.includes(address));
  return isAlike ? [] : [`name server ${answer.server} ${said(answer)}`];
}

function doubtOf({ host, addresses, servers, lastGood }: NameFacts): WstunError | undefined {
  if (!addresses.every(isPrivate)) return undefined;
  const is = `${host} is ${shown(addresses)}, an address of a local network`;
  if (lastGood !== undefined && !isPrivate(lastGood) && !addresses.includes(lastGood))
    return new WstunError('resolver-lies', `${is}; it was reached at ${lastGood} before`);
  const other = servers.find((answer) => answer.addresses.some((address) => !isPrivate(address)));
  if (other === undefined) return undefined;
  return new WstunError('resolver-lies', `${is}; name server ${other.server} ${said(other)}`);
}

function familiesOf(addresses: readonly string[]): string {
  const six = addresses.filter((address) => address.includes(':')).length;
  if (six === 0) return 'IPv4 only';
  return six === addresses.length ? 'IPv6 only' : 'IPv4 and IPv6';
}

function shown(addresses: readonly string[]): string {
  const more = addresses.length > MAX_SHOWN ? ` and ${addresses.length - MAX_SHOWN} more` : '';
  return `${addresses.slice(0, MAX_SHOWN).join(', ')}${more}`;
}

function isPrivate(address: string): boolean {
  const ip = parseIp(address);
  return ip === undefined || specialRange(ip) !== undefined;
}
