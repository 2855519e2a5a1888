/**
 * Options that can change while a client, a relay or an exit runs: what uses them has one of these for as long as it
 * lives, and follows whatever is put into it. What has begun before goes on as it began.
 */
import { createDialer, type Dial } from '../exit/dialer.ts';
import type { Resolver } from '../exit/resolver.ts';
import type { Logger } from '../observability/logger.ts';
import type { Reach } from '../transport/connection/reach.ts';
import type { RelayTls } from '../transport/connection/relay-tls.ts';
import type { ProxyChooser } from '../transport/proxy/proxy-choice.ts';
import { type Dialling, type DialOptions, diallingOf } from './dial-options.ts';
import { type ProxyOptions, type ProxyUse, useProxies } from './proxy-options.ts';

/** What no update changes. */
type LastingReach = Pick<Reach, 'lookup' | 'beforeConnect'>;

/** How the relay is reached, at the next dial. */
export class ReplaceableReach implements Reach {
  readonly lookup: Reach['lookup'];
  readonly beforeConnect: Reach['beforeConnect'];

  constructor(
    private current: Reach,
    { lookup, beforeConnect }: LastingReach = {},
  ) {
    this.lookup = lookup;
    this.beforeConnect = beforeConnect;
  }

  replace(reach: Reach): void {
    this.current = reach;
  }

  get tls(): RelayTls {
    return this.current.tls;
  }

  get connectTo(): Reach['connectTo'] {
    return this.current.connectTo;
  }

  get fields(): Reach['fields'] {
    return this.current.fields;
  }

  get source(): Reach['source'] {
    return this.current.source;
  }

  get family(): Reach['family'] {
    return this.current.family;
  }

  get prefer(): Reach['prefer'] {
    return this.current.prefer;
  }
}

/** By which proxies the relay is reached, at the next dial. */
export class ReplaceableProxies implements ProxyUse {
  readonly proxies: ProxyChooser;
  private current: ProxyUse;

  /** @throws WstunError bad-proxy */
  constructor(
    options: ProxyOptions,
    reach: Reach,
    private readonly reconnect: () => void,
    private readonly logger: Logger,
  ) {
    this.current = useProxies(options, reach, reconnect, logger);
    const now = () => this.current.proxies;
    this.proxies = {
      proxiesFor: async (url) => (await now()?.proxiesFor(url)) ?? [undefined],
      get hasWrongPassword() {
        return now()?.hasWrongPassword ?? false;
      },
      get isOff() {
        return now() === undefined;
      },
    };
  }

  /** @throws WstunError bad-proxy; then the former ones stay */
  async replace(options: ProxyOptions, reach: Reach): Promise<void> {
    const before = this.current;
    this.current = useProxies(options, reach, this.reconnect, this.logger);
    await before.stop();
  }

  async stop(): Promise<void> {
    await this.current.stop();
  }
}

/** How targets are found and dialled, for the next stream. */
export class ReplaceableDialling implements Dialling {
  readonly publicAddresses: Dialling['publicAddresses'];
  readonly resolver: Resolver;
  readonly dial: Dial;
  private current: Pick<Dialling, 'resolver' | 'dial' | 'isDirect'>;

  /** @throws WstunError bad-option, bad-proxy */
  constructor(
    options: DialOptions,
    private readonly logger: Logger,
  ) {
    const first = diallingOf(options, logger);
    this.current = first;
    this.publicAddresses = first.publicAddresses;
    this.resolver = {
      fullNamesOf: (name) => this.current.resolver.fullNamesOf(name),
      resolve: (names, signal) => this.current.resolver.resolve(names, signal),
      localAddresses: (name) => this.current.resolver.localAddresses?.(name),
      nameServers: () => this.current.resolver.nameServers?.() ?? [],
    };
    const directly = createDialer();
    this.dial = (...target) => (this.current.dial ?? directly)(...target);
  }

  get isDirect(): boolean {
    return this.current.isDirect;
  }

  /** All but the public addresses; in force when the result is called. @throws WstunError bad-option, bad-proxy */
  prepare(options: DialOptions): () => void {
    const { publicAddresses, ...next } = diallingOf(options, this.logger);
    publicAddresses.stop();
    return () => {
      this.current = next;
    };
  }
}
