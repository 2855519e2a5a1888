/** The bottom of a client's terminal: the line about its state, and the Enter key. */
import type { Client } from '../app/client.ts';
import { DRAIN_MS } from '../app/options.ts';
import { isInForeground } from './foreground.ts';
import type { OutageReport } from './outage-report.ts';
import type { Output } from './output.ts';
import { clientLines, openTexts } from './terminal/client-lines.ts';
import { onEachLine, type TetherReport } from './tether.ts';

export interface ClientScreenOptions {
  readonly output: Output;
  readonly outage: OutageReport;
  readonly tether: TetherReport;
  readonly page: 'phone' | 'browser';
  /** A page carries links: Enter shows a new code for it, or opens it again. */
  readonly hasPages: boolean;
  /** Nobody else reads stdin. */
  readonly isStdinFree: boolean;
}

export class ClientScreen {
  private readonly readsEnter: boolean;
  private closesAt: number | undefined;

  constructor(
    private readonly client: Client,
    private readonly options: ClientScreenOptions,
  ) {
    this.readsEnter = options.isStdinFree && process.stdin.isTTY === true && isInForeground();
  }

  begin(): void {
    const { output, isStdinFree, hasPages } = this.options;
    if (output.live === undefined) output.say(`connecting to ${this.client.status().relay} …`);
    output.follow((now, columns) => this.lines(now, columns));
    if (isStdinFree && (this.readsEnter || hasPages)) onEachLine(process.stdin, () => this.handleEnter());
  }

  /** It was told to close. */
  showClosing(): void {
    const { output } = this.options;
    const { streamCount } = this.client.status();
    this.closesAt = Date.now() + DRAIN_MS;
    output.event({ event: 'closing', streams: streamCount, graceMs: DRAIN_MS });
    // Targets are for the terminal of whoever opened them, not for a log.
    if (output.live === undefined && streamCount > 0) output.say(openTexts(streamCount, '', DRAIN_MS)[0] ?? '');
    output.live?.refresh();
  }

  private handleEnter(): void {
    const { output, hasPages } = this.options;
    output.live?.handleEnter();
    if (this.closesAt !== undefined) return;
    if (process.stdin.isTTY === true && this.client.status().state !== 'connected') this.client.reconnect();
    if (hasPages) this.client.showCode();
  }

  private lines(now: number, columns: number): readonly string[] {
    const { output, outage, tether, page } = this.options;
    const view = {
      ...{ status: this.client.status(), failure: outage.failure, page },
      ...{ readsEnter: this.readsEnter, awaitsPhone: tether.awaitsPhone, closesAt: this.closesAt },
    };
    return clientLines(view, now, { columns, hasColours: output.hasColours });
  }
}
