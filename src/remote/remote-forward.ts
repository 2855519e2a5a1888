/** A forward from the exit to this machine, as `--remote-forward` writes it: the syntax of ssh -R. Pure. */
import { WstunError } from '../errors.ts';
import { listenPlace, portOf, splitForward } from '../net/forward-syntax.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { parseIp } from '../net/ip.ts';
import type { Target } from '../tunnel/stream/stream.ts';

export interface RemoteForward {
  readonly protocol: 'tcp' | 'udp';
  /** At the exit. Port 0: any that the exit allows. */
  readonly listen: HostPort;
  /** `socks`: wherever each connection asks for, as a proxy. */
  readonly to: HostPort | 'socks';
  /** A header of the PROXY protocol goes first, which says who has connected. */
  readonly proxyHeader: boolean;
}

const DEFAULT_SOCKS_PORT = 1080;

/** @throws WstunError bad-option */
export function parseRemoteForward(text: string): RemoteForward {
  const [, body = '', suffix] = /^(.*?)(?:\/(tcp|udp|proxy-v2))?$/s.exec(text) ?? [];
  const parts = splitForward(body);
  const forward = parts && (parts.at(-1) === 'socks' ? socksForward(parts) : plainForward(parts));
  if (forward === undefined || (forward.to === 'socks' && suffix !== undefined && suffix !== 'tcp'))
    throw malformed(text);
  return { ...forward, protocol: suffix === 'udp' ? 'udp' : 'tcp', proxyHeader: suffix === 'proxy-v2' };
}

type Ends = Pick<RemoteForward, 'listen' | 'to'>;

/** `[[BIND:]PORT:]socks` */
function socksForward(parts: readonly string[]): Ends | undefined {
  const [port = `${DEFAULT_SOCKS_PORT}`, bind, ...more] = parts.slice(0, -1).reverse();
  const listen = listenPlace(bind, port);
  return more.length > 0 || listen === undefined ? undefined : { listen, to: 'socks' };
}

/** `[BIND:]PORT:HOST:PORT` */
function plainForward(parts: readonly string[]): Ends | undefined {
  const [toPort = '', host = '', port = '', bind, ...more] = [...parts].reverse();
  const listen = listenPlace(bind, port);
  const to = { host, port: portOf(toPort) ?? 0 };
  if (more.length > 0 || listen === undefined || to.port === 0 || host === '') return undefined;
  return { listen, to };
}

function malformed(text: string): WstunError {
  return new WstunError('bad-option', `--remote-forward: this is not a forward: ${JSON.stringify(text)}`, {
    fix: 'Write [BIND:]PORT:HOST:PORT, with an IPv6 address in brackets, /udp or /proxy-v2 behind it if needed, or [[BIND:]PORT:]socks: 8080:127.0.0.1:80.',
  });
}

/** As it can be parsed again. */
export function formatRemoteForward({ listen, to, protocol, proxyHeader }: RemoteForward): string {
  const suffix = protocol === 'udp' ? '/udp' : proxyHeader ? '/proxy-v2' : '';
  return `${formatHostPort(listen)}:${to === 'socks' ? to : formatHostPort(to)}${suffix}`;
}

/** As logs name it. */
export function placeOf({ listen }: Pick<RemoteForward, 'listen'>): string {
  return `${formatHostPort(listen)} at the exit`;
}

/** What the exit is asked for. */
export function listenTarget({ listen: { host, port } }: RemoteForward): Target {
  const ip = parseIp(host);
  return ip === undefined ? { kind: 'name', name: host, port } : { kind: 'ip', ip, port };
}
