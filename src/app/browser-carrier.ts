/** A browser on this machine that carries a client's links: its page, served to this machine only, and who opens it. */
import { WstunError } from '../errors.ts';
import { formatHostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import { browserEnvironment } from '../tether/browser/browser-environment.ts';
import { BrowserTab } from '../tether/browser/browser-tab.ts';
import { type OpenerNotice, OwnBrowser, type PageOpener } from '../tether/browser/own-browser.ts';
import { readPage } from '../tether/laptop/page-file.ts';
import { ownBrowser } from '../tether/laptop/page-kind.ts';
import { type TetherEvent, TetherServer } from '../tether/laptop/tether-server.ts';

const HERE = '127.0.0.1';
/** In the place of a program: a tab of the default browser. */
const TAB = 'open';

export type BrowserNotice =
  | OpenerNotice
  /** Its page can carry links. `again`: it was connected before. */
  | { readonly type: 'connected'; readonly again: boolean }
  /** It cannot reach the relay; it goes on trying. */
  | { readonly type: 'offline'; readonly error: WstunError };

export interface BrowserCarrierOptions {
  /** True: any that is found. `open`: a tab of the default browser. Else a program. */
  readonly browser: string | true;
  /** More arguments for a program. */
  readonly args: readonly string[];
  readonly relayUrls: readonly string[];
  /** Of the relay's TLS keys, SHA-256, 32 bytes each. */
  readonly pins: readonly Uint8Array[];
  readonly onNotice: (notice: BrowserNotice) => void;
  /** No page has ever connected, and this is why. */
  readonly onNotStarted: (error: WstunError) => void;
  /** There is a page to be asked. */
  readonly onJoined: () => void;
  readonly logger: Logger;
}

export class BrowserCarrier {
  readonly pages: TetherServer;
  private opener: PageOpener | undefined;
  private hasConnected = false;

  constructor(private readonly options: BrowserCarrierOptions) {
    const { browser, relayUrls, logger } = options;
    this.pages = new TetherServer({
      ...{ page: readPage(), relayUrls, logger },
      kind: ownBrowser(browser === TAB ? 'tab' : 'hidden'),
      onEvent: (event) => this.handle(event),
    });
  }

  /** @param proxyPort of the client's own proxy @throws WstunError browser-missing, cannot-listen */
  async start(proxyPort: number): Promise<void> {
    const { browser, args, logger } = this.options;
    const onNotice = (notice: OpenerNotice) => this.handleOpener(notice);
    const pins = this.options.pins.map((pin) => Buffer.from(pin).toString('base64'));
    await this.pages.serve({ host: HERE, port: 0, publicHost: HERE });
    const port = this.pages.address?.port ?? 0;
    const opening = {
      env: browserEnvironment(process.env, proxyPort),
      ...{ logger, onNotice, origin: `http://${formatHostPort({ host: HERE, port })}` },
      newStart: () => this.pages.newStart(),
    };
    this.opener =
      browser === TAB
        ? new BrowserTab(opening)
        : new OwnBrowser({ ...opening, args, pins, program: browser === true ? undefined : browser });
    await this.opener.start();
  }

  /** Opens a tab again. */
  reopen(): void {
    if (this.pages.pages === 0) this.opener?.reopen();
  }

  close(): void {
    this.opener?.close();
    this.pages.close();
  }

  private handleOpener(notice: OpenerNotice): void {
    this.options.onNotice(notice);
    if (notice.type === 'ended' && !this.hasConnected) this.options.onNotStarted(notice.error);
  }

  private handle(event: TetherEvent): void {
    const { onNotice, onJoined } = this.options;
    if (event.type === 'paired') {
      this.hasConnected = true;
      this.opener?.handlePaired();
      onNotice({ type: 'connected', again: event.again });
      onJoined();
    } else if (event.type === 'lost') {
      if (event.left === 0) this.opener?.handleLost();
    } else if (event.type === 'offline') {
      onNotice({ type: 'offline', error: new WstunError('browser-offline') });
    }
  }
}
