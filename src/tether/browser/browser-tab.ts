/**
 * Opens the page as a tab of the system's default browser, which has its user's profile: logins, certificates,
 * extensions. Whether it is closed is for its user to decide: it is opened again only when a person asks.
 */
import { spawn } from 'node:child_process';
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { startFile } from '../shared/start.ts';
import { PAGE_GONE_MS, START_LIMIT_MS } from './browser-limits.ts';
import type { OpenerOptions, PageOpener } from './own-browser.ts';
import { PrivateFolder } from './private-folder.ts';

/** The program that opens a file as a double click would. */
const OPENERS: Readonly<Partial<Record<NodeJS.Platform, readonly [program: string, ...args: string[]]>>> = {
  darwin: ['open'],
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
};

export class BrowserTab implements PageOpener {
  private folder: PrivateFolder | undefined;
  private timer: Timer | undefined;
  private closed = false;
  private readonly clock: Clock;

  constructor(private readonly options: OpenerOptions) {
    this.clock = options.clock ?? systemClock;
  }

  async start(): Promise<void> {
    this.folder = new PrivateFolder();
    this.reopen();
  }

  handlePaired(): void {
    this.clock.clearTimeout(this.timer);
    this.folder?.removeStart();
  }

  handleLost(): void {
    if (!this.closed) this.reportAfter(PAGE_GONE_MS, 'its page is gone');
  }

  reopen(): void {
    const { newStart, origin, env, onNotice } = this.options;
    if (this.closed || this.folder === undefined) return;
    const file = this.folder.writeStart(startFile(newStart(), origin));
    const [program, ...args] = OPENERS[process.platform] ?? ['xdg-open'];
    const child = spawn(program, [...args, file], { stdio: 'ignore', env, detached: true, windowsHide: true });
    child.once('error', (error: NodeJS.ErrnoException) => this.report(`${program}: ${error.code}`));
    child.once('exit', (code) => {
      if (code !== 0 && code !== null) this.report(`${program}: exit code ${code}`);
    });
    child.unref();
    onNotice({ type: 'started' });
    this.reportAfter(START_LIMIT_MS, 'nothing happened');
  }

  close(): void {
    this.closed = true;
    this.clock.clearTimeout(this.timer);
    this.folder?.remove();
  }

  private reportAfter(ms: number, why: string): void {
    this.clock.clearTimeout(this.timer);
    this.timer = this.clock.setTimeout(() => this.report(why), ms).unref();
  }

  private report(why: string): void {
    if (this.closed) return;
    this.clock.clearTimeout(this.timer);
    this.options.onNotice({ type: 'ended', error: new WstunError('browser-not-opened', why) });
  }
}
