/** The bottom of the terminal of a relay or an exit: the line about its state, and what it says when it closes. */
import { DRAIN_MS } from '../app/options.ts';
import type { ServingStatus } from '../app/status.ts';
import type { OutageReport } from './outage-report.ts';
import type { Output } from './output.ts';
import { closingWith } from './terminal/client-lines.ts';
import { openOf, openText, servingLines } from './terminal/serving-lines.ts';

export class ServingScreen {
  private closesAt: number | undefined;

  constructor(
    private readonly served: { status(): ServingStatus },
    private readonly options: {
      readonly output: Output;
      readonly outage?: OutageReport;
      readonly readsEnter: boolean;
    },
  ) {}

  begin(): void {
    this.options.output.follow((now, columns) => this.lines(now, columns));
  }

  /** It was told to close, or a fault ends it. */
  showClosing(fault?: { readonly code: string; readonly message: string }): void {
    const { output } = this.options;
    const status = this.served.status();
    const open = openOf(status);
    this.closesAt = Date.now() + DRAIN_MS;
    const why = fault && { code: fault.code, message: fault.message };
    output.event({ event: 'closing', ...why, ...open, graceMs: DRAIN_MS });
    if (output.live === undefined && open.sessions > 0)
      output.say(closingWith(openText(status), '', DRAIN_MS)[0] ?? '');
    output.live?.refresh();
  }

  private lines(now: number, columns: number): readonly string[] {
    const { output, outage, readsEnter } = this.options;
    const view = { status: this.served.status(), outage: outage?.current, readsEnter, closesAt: this.closesAt };
    return servingLines(view, now, { columns, hasColours: output.hasColours });
  }
}
