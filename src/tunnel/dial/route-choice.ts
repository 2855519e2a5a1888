/** The routes from this machine as a choice of connectors: a race at each dial, and the cheaper ones as better. */
import type { MessageLink } from '../../transport/message-link.ts';
import type { Route } from '../routes/route.ts';
import type { LinkPurpose } from './connectors.ts';
import type { ChosenLink, ConnectorChoice } from './preferred-connector.ts';
import type { RelayRoutes, RoutedLink } from './relay-routes.ts';
import type { AttemptOptions } from './route-dial.ts';

/** One link to a relay by a route, with a complete handshake. @throws WstunError */
export type DialRoute<L extends MessageLink> = (
  relay: string,
  route: Route,
  options: AttemptOptions,
  purpose: LinkPurpose,
) => Promise<L>;

export class RouteChoice<L extends MessageLink> implements ConnectorChoice<L> {
  /** @param nextRelay whose turn it is */
  constructor(
    private readonly routes: RelayRoutes,
    private readonly nextRelay: () => string,
    private readonly dialRoute: DialRoute<L>,
  ) {}

  /** A further link goes by the route of the latest one: a route that works needs no race. */
  async dial(signal: AbortSignal, purpose: LinkPurpose = 'only'): Promise<ChosenLink<L>> {
    const relay = this.nextRelay();
    const attempt = this.attemptAt(relay, purpose);
    const routed = await (purpose === 'further'
      ? this.routes.dialAlike(relay, attempt, signal)
      : this.routes.dial(relay, attempt, signal));
    return this.chosen(relay, routed);
  }

  private attemptAt(relay: string, purpose: LinkPurpose) {
    return (route: Route, options: AttemptOptions): Promise<L> => this.dialRoute(relay, route, options, purpose);
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
