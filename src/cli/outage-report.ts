/** Reports an outage: each new reason at once, and that it lasts. Repeating a sentence would hide everything else. */
import type { WstunError } from '../errors.ts';
import { LASTING_MS } from '../tunnel/reconnect/outage.ts';
import type { Output } from './output.ts';

/** A reason that stays the same is reported again after this, ms. */
const REMINDER_MS = 10 * 60_000;

export class OutageReport {
  private last: WstunError | undefined;
  private toldAt = Number.NEGATIVE_INFINITY;
  private since = 0;
  private lasting: NodeJS.Timeout | undefined;
  private isLasting = false;
  /** What was said of attempts that take long. */
  private trying: string | undefined;

  constructor(private readonly output: Output) {}

  handleFailed(error: WstunError, waitMs: number): void {
    const { code, message } = error;
    this.output.event({ event: 'retrying', code, message, waitMs: Math.round(waitMs) });
    const now = performance.now();
    if (this.last === undefined) this.begin(now);
    const isNew = this.last?.message !== message || now - this.toldAt >= REMINDER_MS;
    this.last = error;
    if (!isNew) return;
    this.toldAt = now;
    this.output.say(`wstun: ${message} Next attempt in ${seconds(waitMs)}.`);
  }

  /** An attempt takes long. @param why without its time, by which a repetition is recognised */
  handleTrying(why: string, text: string): void {
    if (this.trying === why) return;
    this.trying = why;
    this.output.say(text);
  }

  /** The outage is over. Without effect if there was none. */
  handleOver(): void {
    this.trying = undefined;
    clearTimeout(this.lasting);
    this.last = undefined;
    this.isLasting = false;
    this.toldAt = Number.NEGATIVE_INFINITY;
  }

  private begin(now: number): void {
    this.since = now;
    this.lasting = setTimeout(() => this.tellLasting(), LASTING_MS).unref();
  }

  private tellLasting(): void {
    if (this.last === undefined || this.isLasting) return;
    this.isLasting = true;
    const { code, message } = this.last;
    const forMs = Math.round(performance.now() - this.since);
    this.output.event({ event: 'waiting', code, message, forMs });
    this.output.say(
      `wstun: not connected for ${seconds(forMs)}: ${message} wstun keeps trying, with pauses of up to a minute.`,
    );
  }
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

export function counted(streams: number): string {
  return streams === 1 ? '1 stream' : `${streams} streams`;
}
