/**
 * Keeps a browser without a window running, whose page carries links: starts it, notices that it or its page is gone,
 * and starts it again. Its owner serves the page, and says when it has paired.
 */
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import { startFile } from '../shared/start.ts';
import { browserArguments } from './browser-command.ts';
import { PAGE_GONE_MS, START_LIMIT_MS } from './browser-limits.ts';
import { BrowserProcess, versionOf } from './browser-process.ts';
import { type FoundBrowser, findBrowser, SYSTEM_BROWSERS } from './find-browser.ts';
import { PrivateFolder } from './private-folder.ts';
import { RestartDelays } from './restart-delays.ts';

export interface OpenerOptions {
  /** Makes a secret, which opens one pairing. */
  readonly newStart: () => string;
  /** `http://127.0.0.1:PORT` */
  readonly origin: string;
  readonly onNotice: (notice: OpenerNotice) => void;
  readonly env: NodeJS.ProcessEnv;
  readonly logger: Logger;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export type OpenerNotice =
  /** A browser was started, or a tab was asked for, of which no program is known. `sandbox` false: it has none. */
  | { readonly type: 'started'; readonly program?: string; readonly sandbox?: boolean }
  /** Carries nothing now. `waitMs`: until it is started again; undefined: only when a person asks. */
  | { readonly type: 'ended'; readonly error: WstunError; readonly waitMs?: number };

/** How the page comes into a browser. */
export interface PageOpener {
  /** @throws WstunError browser-missing */
  start(): Promise<void>;
  /** A page has paired. */
  handlePaired(): void;
  /** The control link of the page has ended. */
  handleLost(): void;
  /** A person asks for a page. */
  reopen(): void;
  close(): void;
}

export interface OwnBrowserOptions extends OpenerOptions {
  /** Undefined: any that is found. */
  readonly program: string | undefined;
  /** As of BrowserStart. */
  readonly pins: readonly string[];
  /** More arguments. */
  readonly args: readonly string[];
}

export class OwnBrowser implements PageOpener {
  private readonly clock: Clock;
  private readonly delays = new RestartDelays();
  private browser: FoundBrowser | undefined;
  private version: string | undefined;
  private folder: PrivateFolder | undefined;
  private process: BrowserProcess | undefined;
  /** Until the page must have paired, or be back, or until the next start. */
  private timer: Timer | undefined;
  private pairedAt: number | undefined;
  /** Why we end it ourselves. */
  private fault: WstunError | undefined;
  private closed = false;

  constructor(private readonly options: OwnBrowserOptions) {
    this.clock = options.clock ?? systemClock;
  }

  async start(): Promise<void> {
    this.browser = findBrowser(this.options.program, SYSTEM_BROWSERS);
    this.folder = new PrivateFolder();
    this.version = await versionOf(this.browser, this.options.env);
    await this.launch(this.browser, this.folder);
  }

  handlePaired(): void {
    this.clock.clearTimeout(this.timer);
    this.pairedAt ??= this.clock.now();
    this.folder?.removeStart();
  }

  handleLost(): void {
    if (this.closed || this.process === undefined) return;
    this.endAfter(PAGE_GONE_MS, 'browser-failed');
  }

  reopen(): void {}

  close(): void {
    this.closed = true;
    this.clock.clearTimeout(this.timer);
    // Its profile is removed, so there is nothing that it would have to save.
    this.process?.kill();
    this.folder?.remove();
  }

  private async launch(browser: FoundBrowser, folder: PrivateFolder): Promise<void> {
    const { newStart, origin, pins, args: more, env, logger, onNotice } = this.options;
    const { clock, version } = this;
    const profile = await folder.newProfile();
    if (this.closed) return folder.remove();
    const file = folder.writeStart(startFile(newStart(), origin));
    const isRoot = process.getuid?.() === 0;
    const args = browserArguments({
      ...{ browser, profile, startFile: file, version, pins, more, isRoot, platform: process.platform },
    });
    this.pairedAt = undefined;
    this.fault = undefined;
    const onEnd = (how: string) => this.handleEnd(how);
    this.process = new BrowserProcess({ browser, args, env, logger, clock, onEnd });
    const sandbox = !args.includes('--no-sandbox');
    onNotice({ type: 'started', program: browser.program, sandbox });
    this.endAfter(START_LIMIT_MS, 'browser-silent');
  }

  private endAfter(ms: number, fault: 'browser-silent' | 'browser-failed'): void {
    const end = () => {
      this.fault = new WstunError(fault, fault === 'browser-failed' ? 'its page is gone' : undefined);
      this.process?.kill();
    };
    this.clock.clearTimeout(this.timer);
    this.timer = this.clock.setTimeout(end, ms).unref();
  }

  private handleEnd(how: string): void {
    const { browser, folder, clock } = this;
    this.process = undefined;
    clock.clearTimeout(this.timer);
    if (this.closed || browser === undefined || folder === undefined) return;
    const livedMs = this.pairedAt === undefined ? 0 : clock.now() - this.pairedAt;
    const waitMs = this.delays.next(livedMs);
    this.options.onNotice({ type: 'ended', error: this.fault ?? new WstunError('browser-failed', how), waitMs });
    const launch = () => {
      this.launch(browser, folder).catch((error: unknown) => this.handleEnd(String(error)));
    };
    this.timer = clock.setTimeout(launch, waitMs);
  }
}
