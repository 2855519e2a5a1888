/**
 * New streams that wait until they may be opened: so many were given up lately that the exit would soon refuse all
 * (mux/rapid-resets.ts). They are served in the order of what is known of the target, so that a program that gives up
 * one connection after the other delays the others little. It knows nothing of links or answers.
 */
import { AbortableWait } from '../../async/abortable.ts';
import type { Clock, Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { BoundedMap } from '../../limits/bounded-map.ts';
import type { Opened } from '../../mux/events.ts';
import type { Target } from '../stream/stream.ts';

/** As long as a connection waits for a session. */
const WAIT_MS = 10_000;
/** As many as the proxy has connections. */
const MAX_WAITING = 2_048;
/** Latest targets remembered, of either kind. */
const MAX_KNOWN = 512;

interface Waiter {
  readonly target: Target;
  readonly wait: AbortableWait<number>;
}

export class OpenQueue {
  /** For targets that answered lately, for others, and for hosts whose opens were given up lately. */
  private readonly lines = [new Set<Waiter>(), new Set<Waiter>(), new Set<Waiter>()] as const;
  private readonly answered = new BoundedMap<string, true>(MAX_KNOWN);
  private readonly givenUp = new BoundedMap<string, true>(MAX_KNOWN);
  private timer: Timer | undefined;

  constructor(
    private readonly tryOpen: (target: Target) => Opened,
    private readonly clock: Clock,
  ) {}

  /** The id of the stream, at once where it may be opened now. Rejects with a WstunError. */
  open(target: Target, signal: AbortSignal): number | Promise<number> {
    if (this.size > 0) return this.wait(target, signal);
    const opened = this.tryOpen(target);
    if ('refused' in opened) throw new WstunError(opened.refused);
    if ('stream' in opened) return opened.stream;
    this.serveAt(opened.heldUntil);
    return this.wait(target, signal);
  }

  noteAnswered(target: Target): void {
    this.answered.set(keyOf(target), true);
  }

  noteGivenUp(target: Target): void {
    this.answered.delete(keyOf(target));
    this.givenUp.set(hostKeyOf(target), true);
  }

  /** Nothing can be opened any more. */
  close(error: WstunError): void {
    this.clock.clearTimeout(this.timer);
    for (const line of this.lines) for (const { wait } of [...line]) wait.reject(error);
  }

  private get size(): number {
    return this.lines.reduce((sum, line) => sum + line.size, 0);
  }

  private lineOf(target: Target): Set<Waiter> {
    const [first, second, last] = this.lines;
    if (this.answered.has(keyOf(target))) return first;
    return this.givenUp.has(hostKeyOf(target)) ? last : second;
  }

  private wait(target: Target, signal: AbortSignal): Promise<number> {
    if (signal.aborted) throw new WstunError('dial-cancelled');
    if (this.size >= MAX_WAITING) throw new WstunError('dial-busy', 'too many connections are waiting to be opened');
    const line = this.lineOf(target);
    const wait = new AbortableWait<number>({
      clock: this.clock,
      signal,
      limitMs: WAIT_MS,
      onExpired: (expired) => expired.reject(new WstunError('dial-busy')),
      onSettled: () => line.delete(waiter),
    });
    const waiter: Waiter = { target, wait };
    line.add(waiter);
    return wait.promise;
  }

  private serveAt(at: number): void {
    this.clock.clearTimeout(this.timer);
    this.timer = this.clock.setTimeout(() => this.serve(), Math.max(1, at - this.clock.now()));
  }

  private serve(): void {
    for (const line of this.lines) {
      for (const waiter of line) {
        const opened = this.tryOpen(waiter.target);
        if ('heldUntil' in opened) return this.serveAt(opened.heldUntil);
        if ('refused' in opened) waiter.wait.reject(new WstunError(opened.refused));
        else waiter.wait.resolve(opened.stream);
      }
    }
  }
}

function keyOf(target: Target): string {
  return `${hostKeyOf(target)}:${target.port}`;
}

function hostKeyOf(target: Target): string {
  return target.kind === 'ip' ? target.ip.join('.') : target.name;
}
