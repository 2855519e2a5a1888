/** Reports an outage: each new reason at once, and that it lasts. Repeating a sentence would hide everything else. */
import type { WstunError } from '../errors.ts';
import { LASTING_MS } from '../tunnel/reconnect/outage.ts';
import type { Output } from './output.ts';
import { FailureTally, type Tally, tallyText } from './terminal/failure-tally.ts';
import { counted as count } from './terminal/quantities.ts';

export class OutageReport {
  private readonly tally = new FailureTally();
  private last: WstunError | undefined;
  private since = 0;
  private lasting: NodeJS.Timeout | undefined;
  private nextAt: number | undefined;
  /** What was said of attempts that take long. */
  private trying: string | undefined;

  constructor(private readonly output: Output) {}

  /** The newest failure, counted, while nothing has succeeded since. */
  get failure(): Tally | undefined {
    return this.tally.last;
  }

  /** The outage that goes on: since when, and when the next attempt is, by Date.now(). */
  get current():
    | { readonly failure?: Tally | undefined; readonly since: number; readonly nextAttemptAt?: number | undefined }
    | undefined {
    return this.last && { failure: this.failure, since: this.since, nextAttemptAt: this.nextAt };
  }

  /** @param isShown false: the line at the bottom of the terminal says it, where there is one */
  handleFailed(error: WstunError, waitMs: number, isShown = true): void {
    const { code, message } = error;
    const now = Date.now();
    this.output.event({ event: 'retrying', code, message, waitMs: Math.round(waitMs) });
    if (this.last === undefined) this.begin(now);
    const before = this.tally.last;
    const novelty = this.tally.handle(reasonOf(error), now);
    this.last = error;
    this.nextAt = now + waitMs;
    this.output.live?.refresh();
    if (this.output.live === undefined) {
      if (novelty !== 'again') this.output.say(`${message} ${nextText(waitMs)}`, 'warn');
      return;
    }
    if (novelty !== 'first' || !isShown) return;
    // What was counted in place stays where it was.
    this.keep(before);
    this.output.say(message, 'warn');
  }

  /** An attempt takes long. @param why without its time, by which a repetition is recognised */
  handleTrying(why: string, text: string): void {
    if (this.trying === why) return;
    this.trying = why;
    this.output.say(text);
  }

  /** The outage is over. Without effect if there was none. */
  handleOver(): void {
    if (this.output.live !== undefined) this.keep(this.tally.last);
    this.trying = undefined;
    clearTimeout(this.lasting);
    this.last = undefined;
    this.nextAt = undefined;
    this.tally.clear();
  }

  private keep(tally: Tally | undefined): void {
    if (tally !== undefined && tally.count > 1) this.output.say(tallyText(tally));
  }

  private begin(now: number): void {
    this.since = now;
    this.lasting = setTimeout(() => this.tellLasting(), LASTING_MS).unref();
  }

  private tellLasting(): void {
    if (this.last === undefined) return;
    const { code, message } = this.last;
    const forMs = Math.round(Date.now() - this.since);
    this.output.event({ event: 'waiting', code, message, forMs });
    // The line at the bottom of a terminal shows how long.
    if (this.output.live !== undefined) return;
    this.output.say(
      `not connected for ${seconds(forMs)}: ${message} wstun keeps trying, with pauses of up to a minute.`,
      'warn',
    );
  }
}

/** What failed, as short as it can be said: `connection refused`. The address is in the line beside it. */
function reasonOf({ detail, what }: WstunError): string {
  const reason = detail.replace(/^(?:\[[\da-f:.]+\]|[^\s:]+):\d+(?:: |$)/i, '');
  return reason === '' ? what : reason;
}

/** The first attempt of an outage follows at once. */
function nextText(waitMs: number): string {
  return waitMs < 50 ? 'Trying again now.' : `Next attempt in ${seconds(waitMs)}.`;
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

export function counted(streams: number): string {
  return count(streams, 'stream');
}
