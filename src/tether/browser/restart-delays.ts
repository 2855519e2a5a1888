/** When a browser that has ended is started again. Pure: times are passed in. */
import { FIRST_WAIT_MS, LASTING_RUN_MS, MAX_WAIT_MS, QUICK_STARTS } from './browser-limits.ts';

export class RestartDelays {
  private inARow = 0;

  /** @param livedMs how long the page of the run that has ended was paired, 0 for never @returns ms to wait */
  next(livedMs: number): number {
    if (livedMs >= LASTING_RUN_MS) this.inARow = 0;
    this.inARow += 1;
    const late = this.inARow - QUICK_STARTS;
    return late <= 0 ? 0 : Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(late - 1, 16));
  }
}
