/** The routes from this machine to one relay: a race at each dial, and the cheaper ones as better connectors. */
import type { MessageLink } from '../../transport/message-link.ts';
import type { Route } from '../routes/route.ts';
import type { LinkPurpose } from './connectors.ts';
import type { ChosenLink, ConnectorChoice } from './preferred-connector.ts';
import type { Among, RelayRoutes, RoutedLink } from './relay-routes.ts';
import type { AttemptOptions } from './route-dial.ts';

/** One link to a relay by a route, with a complete handshake. @throws WstunError */
export type DialRoute<L extends MessageLink> = (
  relay: string,
  route: Route,
  options: AttemptOptions,
  purpose: LinkPurpose,
) => Promise<L>;

/** Of a dial that is one of several, each to another relay. */
export interface AmongRelays extends Among {
  /** TCP is connected by one of the routes. */
  onConnected(): void;
}

export class RouteChoice<L extends MessageLink> {
  constructor(
    private readonly routes: RelayRoutes,
    private readonly dialRoute: DialRoute<L>,
  ) {}

  /** @throws WstunError */
  async dial(relay: string, signal: AbortSignal, purpose: LinkPurpose, among?: AmongRelays): Promise<ChosenLink<L>> {
    const attempt = this.attemptAt(relay, purpose, among);
    return this.chosen(relay, await this.routes.dial(relay, attempt, signal, among));
  }

  /** One more link, by the route of the latest one: a route that works needs no race. @throws WstunError */
  async dialAlike(relay: string, signal: AbortSignal): Promise<ChosenLink<L>> {
    return this.chosen(relay, await this.routes.dialAlike(relay, this.attemptAt(relay, 'further'), signal));
  }

  private attemptAt(relay: string, purpose: LinkPurpose, among?: AmongRelays) {
    return (route: Route, options: AttemptOptions): Promise<L> => {
      const onConnected = (): void => {
        options.onConnected();
        among?.onConnected();
      };
      return this.dialRoute(relay, route, { ...options, onConnected }, purpose);
    };
  }

  private chosen(relay: string, { link, route, ...notes }: RoutedLink<L>): ChosenLink<L> {
    const better = this.routes.hasCheaper(route.carrier) ? this.cheaper(relay, route) : undefined;
    return { link, ...notes, better };
  }

  private cheaper(relay: string, { carrier }: Route): ConnectorChoice<L> {
    return {
      dial: async (signal, purpose = 'only') => {
        const attempt = this.attemptAt(relay, purpose);
        return this.chosen(relay, await this.routes.dialCheaper(relay, carrier, attempt, signal));
      },
    };
  }
}
