/**
 * What was in the way of a route, and which other routes are worth an attempt then. Pure. Attempts that must fail alike
 * would only cost a relay tickets, and a network that has failed as a whole fails for all of them.
 */
import type { FaultName, WstunError } from '../../errors.ts';
import { type Obstacle, obstacleIn } from '../../transport/dial-obstacle.ts';
import { isSamePath, type Route } from './route.ts';

/** `repeated`: only where the dial before met it, too. */
type Worth = 'yes' | 'no' | 'repeated';

interface Consequence {
  /** Another carrier on the same path. */
  readonly otherCarrier: Worth;
  /** Through another proxy, or without one. */
  readonly otherPath: Worth;
}

const NOTHING_ELSE: Consequence = { otherCarrier: 'no', otherPath: 'no' };
const OTHER_PATHS: Consequence = { otherCarrier: 'no', otherPath: 'yes' };
const ALL: Consequence = { otherCarrier: 'yes', otherPath: 'yes' };

const CONSEQUENCES: Readonly<Record<Obstacle, Consequence>> = {
  local: NOTHING_ELSE,
  // A proxy resolves names itself.
  name: OTHER_PATHS,
  unreachable: OTHER_PATHS,
  proxy: OTHER_PATHS,
  // Every carrier begins with the same TLS.
  'not-tls': OTHER_PATHS,
  untrusted: OTHER_PATHS,
  cut: ALL,
  silent: ALL,
  answer: ALL,
  handshake: ALL,
  // A relay restarts behind its web server. All of its clients come back at that time.
  gateway: { otherCarrier: 'repeated', otherPath: 'repeated' },
  'upgrade-dropped': ALL,
  'http-link-unknown': ALL,
  relay: NOTHING_ELSE,
};

/** Said by the relay or the exit of the invite, so every route leads to it. */
const OF_THE_RELAY: ReadonlySet<FaultName> = new Set([
  'relay-full',
  'too-often',
  'wrong-path',
  'clock-off',
  'keys-rotated',
  'exit-absent',
  'overloaded',
  'shutting-down',
  'internal',
  'dial-cancelled',
]);

/** By fault, where the error itself does not say it. */
const BY_FAULT: Readonly<Partial<Record<FaultName, Obstacle>>> = {
  'out-of-descriptors': 'local',
  'relay-unreachable': 'unreachable',
  'relay-untrusted': 'untrusted',
  'tls-inspected': 'untrusted',
  'relay-other-name': 'untrusted',
  'relay-out-of-date': 'untrusted',
  'relay-other-key': 'untrusted',
  'tls-refused': 'not-tls',
  'relay-odd-answer': 'answer',
  'relay-refused': 'answer',
  'link-slow': 'silent',
  'upgrade-dropped': 'upgrade-dropped',
  'http-link-unknown': 'http-link-unknown',
};

export function obstacleOf(error: WstunError): Obstacle {
  const said = obstacleIn(error);
  if (said !== undefined) return said;
  if (/^(?:proxy|pac)-/.test(error.fault)) return 'proxy';
  return BY_FAULT[error.fault] ?? (OF_THE_RELAY.has(error.fault) ? 'relay' : 'handshake');
}

/** Whether `other` may work although `failed` met the obstacle. @param wasRepeated the dial before met it, too */
export function isWorth(other: Route, failed: Route, obstacle: Obstacle, wasRepeated: boolean): boolean {
  const { otherCarrier, otherPath } = CONSEQUENCES[obstacle];
  const worth = isSamePath(other, failed) ? otherCarrier : otherPath;
  return worth === 'yes' || (worth === 'repeated' && wasRepeated);
}

/** Whether every route meets it, so that those under way need not be waited for. */
export function isForAll(obstacle: Obstacle): boolean {
  return obstacle === 'relay' || obstacle === 'local';
}

/** Whether no relay can be reached for what one of them has met. */
export function isForAllRelays(error: WstunError): boolean {
  return obstacleOf(error) === 'local';
}

/** The more an obstacle tells about what is in the way, the smaller. */
const TELLING: readonly Obstacle[] = [
  'relay',
  'local',
  'upgrade-dropped',
  'untrusted',
  'proxy',
  'answer',
  'not-tls',
  'gateway',
  'handshake',
  'cut',
  'silent',
  'unreachable',
  'name',
  'http-link-unknown',
];

export function tellingRank(error: WstunError): number {
  return TELLING.indexOf(obstacleOf(error));
}
