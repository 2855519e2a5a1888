/** One error for a dial whose routes have all failed: what each has met, the most telling first. Pure. */
import { WstunError } from '../../errors.ts';
import { DialError } from '../../transport/dial-obstacle.ts';
import { obstacleOf, tellingRank } from './obstacles.ts';
import { describeRoute, type Route } from './route.ts';

export interface FailedRoute {
  readonly route: Route;
  readonly error: WstunError;
}

/** @param failed in the order in which they failed; at least one */
export function faultOfAll(failed: readonly FailedRoute[]): WstunError {
  const sorted = failed.toSorted((a, b) => tellingRank(a.error) - tellingRank(b.error));
  const [first, ...others] = sorted;
  if (first === undefined) return new WstunError('internal', 'no route to the relay was tried');
  const obstacle = obstacleOf(first.error);
  // Whatever the route, the relay says the same.
  if (others.length === 0 || obstacle === 'relay') return first.error;
  const alike = others.filter(({ error }) => error.what === first.error.what);
  const all = failed.map(({ route }) => route);
  const names = [first, ...alike].map(({ route }) => describeRoute(route, all)).join(' and ');
  const { detail } = first.error;
  const rest = others.filter((each) => !alike.includes(each)).map((each) => describeFailed(each, all));
  const details = [detail === '' ? names : `${names}: ${detail}`, ...rest].join('; ');
  return new DialError(first.error.fault, details, obstacle, { fix: first.error.fix });
}

function describeFailed({ route, error }: FailedRoute, all: readonly Route[]): string {
  return `${describeRoute(route, all)}: ${error.what}`;
}
