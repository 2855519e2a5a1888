/**
 * From what failed to the one cause that is told, and what to do about it. Pure. What was tried and failed beside
 * something that works is no cause: a client does the same, and gets through.
 */
import { type FaultName, WstunError } from '../errors.ts';
import { parseIp } from '../net/ip.ts';
import type { Obstacle } from '../transport/dial-obstacle.ts';
import { obstacleOf, tellingRank } from '../tunnel/routes/obstacles.ts';
import { type CheckName, checkOfFault } from './checks.ts';

/** Where nothing of the path shows that what answered is the relay. */
const NOT_THE_RELAY: ReadonlySet<Obstacle> = new Set([
  'answer',
  'not-tls',
  'untrusted',
  'cut',
  'silent',
  'unreachable',
  'name',
]);

export function mayBeSomethingElse(error: WstunError): boolean {
  return NOT_THE_RELAY.has(obstacleOf(error));
}

/** What else was found out where no route leads to the relay. */
export interface Hints {
  /** The network leads to a page. */
  readonly login?: WstunError | undefined;
  /** The name server lies, or may. */
  readonly names?: WstunError | undefined;
  /** A proxy that is not used and reaches the relay, as an argument of `--proxy`. */
  readonly unusedProxy?: string | undefined;
  /** The relay's host is reached at port 443, and not at this one. */
  readonly only443From?: number | undefined;
}

/** @param failed in the order in which the routes failed; at least one */
export function causeOf(failed: readonly WstunError[], hints: Hints): WstunError {
  const [first = new WstunError('internal', 'nothing was tried')] = failed.toSorted(
    (a, b) => tellingRank(a) - tellingRank(b),
  );
  const fix = hints.unusedProxy === undefined ? undefined : proxyFix(hints.unusedProxy);
  if (fix !== undefined && mayBeSomethingElse(first)) return new WstunError(first.fault, first.detail, { fix });
  if (hints.login !== undefined && mayBeSomethingElse(first)) return hints.login;
  // A certificate for the right name that has expired is that of the relay.
  if (hints.names !== undefined && mayBeSomethingElse(first) && first.fault !== 'relay-out-of-date')
    return new WstunError('resolver-lies', `${hints.names.detail}; there, ${first.what}`);
  if (hints.only443From !== undefined) return only443(first, hints.only443From);
  return withBetterFix(first, failed);
}

function proxyFix(proxy: string): string {
  return `A proxy reaches the relay from here, and is not used: wstun client gets through with --proxy ${proxy}.`;
}

function only443(error: WstunError, port: number): WstunError {
  return new WstunError(error.fault, error.detail, {
    fix: `A firewall drops port ${port}, and lets port 443 of the same host through: the relay should listen there, too. Ask its owner.`,
  });
}

/** More is known here than where the error was made: by how many routes the same was met. */
function withBetterFix(error: WstunError, failed: readonly WstunError[]): WstunError {
  const better = BETTER[error.fault]?.(error, failed);
  if (better === undefined) return error;
  return new WstunError(error.fault, error.detail, { fix: better });
}

type Better = (error: WstunError, failed: readonly WstunError[]) => string | undefined;

const BETTER: Readonly<Partial<Record<FaultName, Better>>> = {
  'relay-unreachable': ({ detail }) => {
    if (/connection refused/.test(detail))
      return 'That machine answers, and nothing listens at that port: its owner must start the relay, or the address has changed.';
    if (/no route to the (?:host|network)|no local address/.test(detail))
      return 'This machine has no way there: check that it is connected to a network, and that this network has the version of IP of the relay.';
    if (/no answer/.test(detail))
      return 'A firewall drops the packets, or that machine is off. In a network with a proxy: --proxy http://HOST:PORT. Else a relay at port 443 of another address may help.';
    return undefined;
  },
  'relay-out-of-date': ({ detail }) =>
    /is not valid before/.test(detail) ? 'The clock of this machine is probably behind: set it.' : undefined,
  'relay-refused': (_error, failed) => {
    if (failed.length < 2 || failed.some(({ fault }) => fault !== 'relay-refused')) return undefined;
    return 'It is the same by WebSocket and by HTTP requests: most likely the invite was revoked. Ask the owner of the relay or exit for a new one: wstun access renew NAME.';
  },
  'handshake-failed': (_error, failed) => {
    if (failed.length < 2 || failed.some(({ fault }) => fault !== 'handshake-failed')) return undefined;
    return 'It is the same by WebSocket and by HTTP requests, so it is not the network: the exit does not have the key that the invite pins, or has revoked the invite. Ask for a new invite.';
  },
};

/**
 * How far one came who met this error, and where it ended: of the first failure of a client.
 * @param relay its URL
 */
export function reachedBefore(
  error: WstunError,
  relay: string,
): { readonly works: readonly CheckName[]; readonly fails: CheckName } {
  const [works, usual] = REACHED[obstacleOf(error)];
  const fails = usual === 'ticket' ? (checkOfFault(error.fault) ?? usual) : usual;
  const url = new URL(relay);
  const isAddress = parseIp(url.hostname.replace(/^\[|\]$/g, '')) !== undefined;
  const isProxied = / through (?:proxy )?(?:https?|socks\w*):/.test(` ${error.detail}`);
  const isThere = (name: CheckName): boolean => {
    if (name === 'names') return !isAddress && !isProxied;
    return name !== 'tls' || url.protocol === 'wss:';
  };
  const ofPath = works.filter(isThere).map((name) => (name === 'tcp' && isProxied ? 'proxy' : name));
  return { works: ofPath, fails };
}

const TLS_AND_BEFORE: readonly CheckName[] = ['names', 'tcp', 'tls'];
const LINK_AND_BEFORE: readonly CheckName[] = [...TLS_AND_BEFORE, 'websocket'];

const REACHED: Readonly<Record<Obstacle, readonly [works: readonly CheckName[], fails: CheckName]>> = {
  local: [[], 'environment'],
  name: [[], 'names'],
  unreachable: [['names'], 'tcp'],
  proxy: [[], 'proxy'],
  'not-tls': [['names', 'tcp'], 'tls'],
  untrusted: [['names', 'tcp'], 'tls'],
  cut: [['names', 'tcp'], 'websocket'],
  silent: [['names', 'tcp'], 'websocket'],
  answer: [TLS_AND_BEFORE, 'websocket'],
  gateway: [TLS_AND_BEFORE, 'websocket'],
  'upgrade-dropped': [TLS_AND_BEFORE, 'websocket'],
  'http-link-unknown': [TLS_AND_BEFORE, 'http'],
  handshake: [LINK_AND_BEFORE, 'handshake'],
  relay: [LINK_AND_BEFORE, 'ticket'],
};
