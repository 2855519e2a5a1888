/** A forward from this machine to a target of the exit, as `--local-forward` writes it: the syntax of ssh -L. Pure. */
import { WstunError } from '../errors.ts';
import { listenPlace, portOf, splitForward } from '../net/forward-syntax.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { parseIp } from '../net/ip.ts';
import { targetOfName } from '../proxy/request-target.ts';
import type { Target } from '../tunnel/stream/stream.ts';

/** The path of a socket of this machine. */
export interface SocketPath {
  readonly path: string;
}

export type Forward =
  | { readonly protocol: 'tcp'; readonly listen: HostPort | SocketPath; readonly to: Target }
  | { readonly protocol: 'udp'; readonly listen: HostPort; readonly to: Target };

/** A path may have colons; what stands behind it has two. */
const SOCKET_FORM = /^unix:(.+?):(\[[^\]]*\]:[^:]*|[^:[\]]*:[^:]*)$/s;

/** @throws WstunError bad-option */
export function parseForward(text: string): Forward {
  const [, path, place = ''] = SOCKET_FORM.exec(text) ?? [];
  const forward = path === undefined ? portForward(text) : socketForward(path, splitForward(place));
  if (forward === undefined) throw malformed(text);
  return forward;
}

function socketForward(path: string, parts: readonly string[] | undefined): Forward | undefined {
  const to = parts?.length === 2 ? targetOf(parts) : undefined;
  return to && { protocol: 'tcp', listen: { path }, to };
}

/** `[BIND:]PORT:HOST:PORT[/udp]`; `/tcp` says the default. */
function portForward(text: string): Forward | undefined {
  const [, body = '', protocol = 'tcp'] = /^(.*?)(?:\/(tcp|udp))?$/s.exec(text) ?? [];
  const parts = splitForward(body) ?? [];
  const [port = '', bind, ...more] = parts.slice(0, -2).reverse();
  const listen = listenPlace(bind, port);
  const to = targetOf(parts.slice(-2));
  if (more.length > 0 || listen === undefined || to === undefined) return undefined;
  return { protocol: protocol === 'udp' ? 'udp' : 'tcp', listen, to };
}

function targetOf([host = '', portText = '']: readonly string[]): Target | undefined {
  const port = portOf(portText);
  if (port === undefined || port === 0) return undefined;
  const ip = parseIp(host);
  return ip === undefined ? targetOfName(host, port) : { kind: 'ip', ip, port };
}

function malformed(text: string): WstunError {
  return new WstunError('bad-option', `--local-forward: this is not a forward: ${JSON.stringify(text)}`, {
    fix: 'Write [BIND:]PORT:HOST:PORT, with an IPv6 address in brackets and /udp behind it for UDP, or unix:PATH:HOST:PORT: 8080:intra.example:80.',
  });
}

/** Where it listens. */
export function formatListen(listen: HostPort | SocketPath): string {
  return 'path' in listen ? `unix:${listen.path}` : formatHostPort(listen);
}
