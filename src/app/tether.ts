/** The tether of a client: its server, at the address at which phones find this machine. */
import { networkInterfaces } from 'node:os';
import { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import { AddressFollower } from '../tether/laptop/address-follower.ts';
import { lanAddresses } from '../tether/laptop/lan-address.ts';
import { readPage } from '../tether/laptop/page-file.ts';
import { type TetherEvent, TetherServer } from '../tether/laptop/tether-server.ts';

const DEFAULT_PORT = 8808;
const ANY_ADDRESS: ReadonlySet<string> = new Set(['0.0.0.0', '::', '*']);

/** The last two end nothing: it is tried again when the network changes, and by `showCode`. */
export type TetherNotice =
  | TetherEvent
  | { readonly type: 'no-address'; readonly error: WstunError }
  | { readonly type: 'cannot-listen'; readonly error: WstunError };

export interface TetherOptions {
  /** True: the machine's local address, port 8808. */
  readonly listen: HostPort | true;
  readonly relayUrls: readonly string[];
  readonly onNotice: (notice: TetherNotice) => void;
  /** There is one more page to be asked. */
  readonly onJoined: () => void;
  readonly logger: Logger;
  /** All phones carry links at once. */
  readonly bond: boolean;
}

type Place = Pick<AddressFollower, 'look' | 'showCode' | 'close'>;

export class Tether {
  readonly pages: TetherServer;
  private place: Place | undefined;

  constructor(private readonly options: TetherOptions) {
    const { relayUrls, onNotice, onJoined, logger, bond } = options;
    const onEvent = (event: TetherEvent) => {
      onNotice(event);
      if (event.type === 'paired') onJoined();
    };
    this.pages = new TetherServer({ page: readPage(), relayUrls, onEvent, logger, bond });
  }

  /** @throws WstunError cannot-listen */
  async start(): Promise<void> {
    const { listen } = this.options;
    const { host, port } = listen === true ? { host: undefined, port: DEFAULT_PORT } : listen;
    if (host === undefined || ANY_ADDRESS.has(host)) return this.follow(host, port);
    await this.pages.serve({ host, port, publicHost: host });
    this.place = { look: () => {}, showCode: () => this.pages.showCode(), close: () => {} };
  }

  /** The network may have changed: without a host of its own the page goes where the machine is. */
  look(): void {
    this.place?.look();
  }

  /** For one more phone. */
  showCode(): void {
    this.place?.showCode();
  }

  close(): void {
    this.place?.close();
    this.pages.close();
  }

  private async follow(host: string | undefined, port: number): Promise<void> {
    const { onNotice } = this.options;
    const follower = new AddressFollower({
      ...{ server: this.pages, host, port },
      addresses: () => lanAddresses(networkInterfaces()),
      onNoAddress: (why) => onNotice({ type: 'no-address', error: new WstunError(why) }),
      onRefused: (error) => onNotice({ type: 'cannot-listen', error }),
    });
    await follower.start();
    this.place = follower;
  }
}
