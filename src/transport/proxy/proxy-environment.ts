/** Which proxy the environment names for a URL, as curl reads it (man curl, ENVIRONMENT). Pure. */
import { networkContains, parseIp } from '../../net/ip.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface EnvironmentProxy {
  readonly text: string;
  readonly variable: string;
}

/**
 * `HTTP_PROXY` is not read: a CGI program has it from a header of its request (httpoxy). An empty variable counts as
 * absent. What `wstun env` and `wstun run` have set is no way to a relay, but into the tunnel to it: WSTUN_ENV is the
 * `host:port` of that proxy.
 */
const VARIABLES: Readonly<Record<string, readonly string[]>> = {
  'wss:': ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'],
  'ws:': ['http_proxy', 'all_proxy', 'ALL_PROXY'],
};

/** @param url of a relay: ws: or wss: */
export function proxyInEnvironment(url: URL, environment: Environment): EnvironmentProxy | undefined {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? (url.protocol === 'wss:' ? 443 : 80) : Number(url.port);
  const variable = VARIABLES[url.protocol]?.find((name) => isSet(environment[name]));
  const text = variable === undefined ? undefined : environment[variable];
  if (variable === undefined || text === undefined || isOfTunnel(text, environment.WSTUN_ENV)) return undefined;
  const exceptions = isSet(environment.no_proxy) ? environment.no_proxy : environment.NO_PROXY;
  return isExcepted(host, port, exceptions ?? '') ? undefined : { text, variable };
}

function isOfTunnel(proxy: string, tunnel: string | undefined): boolean {
  return isSet(tunnel) && proxy.replace(/^[a-z0-9]+:\/\/(?:[^@]*@)?/i, '').replace(/\/$/, '') === tunnel;
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value.trim() !== '';
}

/**
 * Whether `list` (NO_PROXY) has the host: names match themselves and what ends in them, with or without a leading dot;
 * addresses and networks of either family; each with an optional port; `*` is every host.
 * @param host an IPv6 address without brackets
 */
export function isExcepted(host: string, port: number, list: string): boolean {
  return list.split(/[\s,]+/).some((entry) => entry !== '' && matches(entry, host, port));
}

function matches(entry: string, host: string, port: number): boolean {
  const { place, ports } = splitPort(entry);
  if (ports !== undefined && ports !== port) return false;
  if (place === '*') return true;
  const ip = parseIp(host);
  return ip === undefined ? matchesName(place, host) : matchesAddress(place, ip);
}

/** An IPv6 address has a port only after brackets. */
function splitPort(entry: string): { place: string; ports?: number } {
  const bracketed = /^\[([^\]]*)\](\/\d+)?(?::(\d{1,5}))?$/.exec(entry);
  if (bracketed) {
    const [, address = '', bits = '', port] = bracketed;
    return { place: address + bits, ...(port !== undefined && { ports: Number(port) }) };
  }
  const [, place, port] = /^([^:]*):(\d{1,5})$/.exec(entry) ?? [];
  return place === undefined ? { place: entry } : { place, ports: Number(port) };
}

function matchesName(entry: string, host: string): boolean {
  const wanted = entry.toLowerCase().replace(/^\*?\.|\.$/g, '');
  const name = host.toLowerCase().replace(/\.$/, '');
  return wanted !== '' && (name === wanted || name.endsWith(`.${wanted}`));
}

function matchesAddress(entry: string, ip: Uint8Array): boolean {
  const [address = '', bits] = entry.split('/');
  const base = parseIp(address);
  if (base === undefined || base.length !== ip.length) return false;
  const length = bits === undefined ? base.length * 8 : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  return length <= base.length * 8 && networkContains({ base, bits: length }, ip);
}
