/** Waits that end once: with an outcome, a time limit or an AbortSignal. No timer and no listener stays behind. */
import type { Clock, Timer } from '../clock.ts';
import { WstunError } from '../errors.ts';

export interface DeadlineOptions {
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
  /** Ms from now; without it there is no limit until `setLimit`. */
  readonly limitMs?: number | undefined;
}

export interface DeadlineEvents {
  /** The limit has expired: call `end`, or set another limit. */
  onExpired(): void;
  /** The signal has fired: call `end`. Not called for a signal that had fired before. */
  onAbort(): void;
}

/** The time limit and the signal of one wait, without a promise: for callers that must act in the same turn. */
export class Deadline {
  private readonly clock: Clock;
  private readonly signal: AbortSignal | undefined;
  private timer: Timer | undefined;
  private over = false;

  constructor(
    { clock, signal, limitMs }: DeadlineOptions,
    private readonly events: DeadlineEvents,
  ) {
    this.clock = clock;
    this.signal = signal;
    if (limitMs !== undefined) this.setLimit(limitMs);
    signal?.addEventListener('abort', this);
  }

  get isOver(): boolean {
    return this.over;
  }

  /** Replaces the limit. @param ms from now */
  setLimit(ms: number): void {
    if (this.over) return;
    this.clock.clearTimeout(this.timer);
    this.timer = this.clock.setTimeout(Deadline.expire, ms, this);
  }

  /** Nothing is called any more. */
  end(): void {
    this.over = true;
    this.clock.clearTimeout(this.timer);
    this.signal?.removeEventListener('abort', this);
  }

  handleEvent(): void {
    if (!this.over) this.events.onAbort();
  }

  private static expire(deadline: Deadline): void {
    if (!deadline.over) deadline.events.onExpired();
  }
}

export interface WaitOptions<T> extends DeadlineOptions {
  /** The limit has expired: settle the wait, or set another limit. */
  readonly onExpired?: (wait: AbortableWait<T>) => void;
  /** The signal has fired, perhaps before the wait began: settle the wait. Default: rejects with `dial-cancelled`. */
  readonly onAbort?: (wait: AbortableWait<T>) => void;
  /** Once, when the wait is over, before anyone learns the outcome. */
  readonly onSettled?: () => void;
}

/** A promise that the holder of this object settles. Calls after the first outcome have no effect. */
export class AbortableWait<T> implements DeadlineEvents {
  readonly promise: Promise<T>;
  private readonly deadline: Deadline;
  private resolvePromise: (value: T) => void = () => {};
  private rejectPromise: (error: unknown) => void = () => {};

  constructor(private readonly options: WaitOptions<T>) {
    this.promise = new Promise((resolve, reject) => {
      this.resolvePromise = resolve;
      this.rejectPromise = reject;
    });
    this.deadline = new Deadline(options, this);
    if (options.signal?.aborted) this.onAbort();
  }

  get isOver(): boolean {
    return this.deadline.isOver;
  }

  resolve(value: T): void {
    if (this.settle()) this.resolvePromise(value);
  }

  reject(error: unknown): void {
    if (this.settle()) this.rejectPromise(error);
  }

  /** Replaces the limit. @param ms from now */
  setLimit(ms: number): void {
    this.deadline.setLimit(ms);
  }

  onExpired(): void {
    this.options.onExpired?.(this);
  }

  onAbort(): void {
    if (this.options.onAbort === undefined) this.reject(new WstunError('dial-cancelled'));
    else this.options.onAbort(this);
  }

  private settle(): boolean {
    if (this.deadline.isOver) return false;
    this.deadline.end();
    this.options.onSettled?.();
    return true;
  }
}

/** Resolves after `ms`, or as soon as the signal fires. The process may end meanwhile. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      clock.clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = clock.setTimeout(end, ms);
    timer.unref();
    signal?.addEventListener('abort', end);
  });
}

/** Resolves with the promise, or after `ms` without it; the process stays until then. Rejects as the promise does. */
export function settledWithin(clock: Clock, ms: number, promise: Promise<unknown>): Promise<void> {
  const wait = new AbortableWait<void>({ clock, limitMs: ms, onExpired: (expired) => expired.resolve() });
  promise.then(
    () => wait.resolve(),
    (error: unknown) => wait.reject(error),
  );
  return wait.promise;
}

/** `act` gets a signal that fires as `signal` or at the limit. AbortSignal.any would leave 110 bytes (Node 20). */
export async function withLimit<T>(
  options: DeadlineOptions,
  expired: () => Error,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const onAbort = (): void => limit.abort(options.signal?.reason);
  const deadline = new Deadline(options, { onExpired: () => limit.abort(expired()), onAbort });
  if (options.signal?.aborted) onAbort();
  try {
    return await act(limit.signal);
  } finally {
    deadline.end();
  }
}
