/** One step of an examination: its own time limit, the limit of the whole, and a word while it takes long. Pure. */
import { AbortableWait } from '../async/abortable.ts';
import type { Clock, Timer } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { CheckName } from './checks.ts';

/** Nobody is to wait for longer without a word, ms. */
const WORD_MS = 2_000;

export interface StepOptions {
  readonly name: CheckName;
  readonly limitMs: number;
  /** What is wrong where the limit is over. Default: `link-slow`. */
  readonly expired?: () => WstunError;
}

export interface StepsOptions {
  readonly clock: Clock;
  /** Ends everything. */
  readonly signal: AbortSignal;
  /** By the clock, when the examination is to be over. */
  readonly until: number;
  onWaiting(name: CheckName, forMs: number): void;
}

export class Steps {
  private until: number;

  constructor(private readonly options: StepsOptions) {
    this.until = options.until;
  }

  get leftMs(): number {
    return this.until - this.options.clock.now();
  }

  /** What the user has asked for takes its own time. */
  extend(ms: number): void {
    this.until += ms;
  }

  /** `act` gets a signal that fires when the step is over. @throws what it throws, the expired one, `dial-cancelled` */
  async run<T>({ name, limitMs, expired }: StepOptions, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, signal } = this.options;
    const stop = new AbortController();
    const since = clock.now();
    let word: Timer | undefined;
    const wait = new AbortableWait<T>({
      ...{ clock, signal, limitMs: Math.max(1, Math.min(limitMs, this.leftMs)) },
      onExpired: (late) => late.reject(expired?.() ?? new WstunError('link-slow')),
      onSettled: () => {
        clock.clearTimeout(word);
        stop.abort();
      },
    });
    const say = (): void => {
      this.options.onWaiting(name, clock.now() - since);
      word = clock.setTimeout(say, WORD_MS);
    };
    if (wait.isOver) return wait.promise;
    word = clock.setTimeout(say, WORD_MS);
    act(stop.signal).then(
      (value) => wait.resolve(value),
      (error: unknown) => wait.reject(error),
    );
    return wait.promise;
  }
}
