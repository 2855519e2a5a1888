/**
 * How many offers may be looked up, or dialled, at once. Without a free slot an offer waits for a while, because an
 * honest program may open hundreds of connections at once. dial-queue.ts decides which offer is next and which is
 * evicted; this file has the timers and signals.
 */
import { AbortableWait } from '../async/abortable.ts';
import { systemClock } from '../clock.ts';
import { type FaultName, WstunError } from '../errors.ts';
import type { Destination } from './destinations.ts';
import { type Decisions, DialQueue, type Entry, type QueueLimits } from './dial-queue.ts';

export interface DialSlotLimits extends QueueLimits {
  /** Of one peer. Default 256, three quarters for one kind of destinations. Each: up to 8 sockets, 10 KB. */
  readonly pendingPerPeer: number;
  /** Of all peers together. Default 1,024: with 8 sockets each at worst 8,192 file descriptors. */
  readonly pendingTotal: number;
  /**
   * How long an offer waits for slots in all, ms. Default 4,000: with 5 s for the look-up and 10 s for the dial it is
   * answered within the 20 s for which a client waits. How many wait is bounded by the sessions' streams (about 200
   * bytes each).
   */
  readonly waitMs: number;
}

export const DEFAULT_DIAL_SLOT_LIMITS: DialSlotLimits = { pendingPerPeer: 256, pendingTotal: 1_024, waitMs: 4_000 };

/** How often an offer that waits checks for a slot that became available with time, ms. No one notices 50 ms. */
const LOOK_MS = 50;

export interface Slot {
  /** Fires when the offer is given up, or evicted. */
  readonly signal: AbortSignal;
  /** Whether it was evicted. */
  readonly isEvicted: boolean;
  /** Nothing is left of what took it. `answered`: the target or a name server answered. Only the first call counts. */
  release(answered: boolean): void;
}

export class DialSlots {
  private readonly queue: DialQueue;
  private readonly waiters = new Map<Entry, AbortableWait<void>>();
  private readonly takers = new Map<Entry, AbortController>();
  private look: NodeJS.Timeout | undefined;

  /** `now` in ms, monotonic. */
  constructor(
    limits: QueueLimits,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.queue = new DialQueue(limits);
  }

  get taken(): number {
    return this.queue.taken;
  }

  /** Resolves with a slot. Rejects with `dial-busy` after `waitMs`, `dial-cancelled` when the signal fires. */
  acquire(peer: string, destinations: readonly Destination[], signal: AbortSignal, waitMs: number): Promise<Slot> {
    if (signal.aborted) return Promise.reject(new WstunError('dial-cancelled'));
    const { entry, decisions } = this.queue.ask(peer, destinations, this.now());
    // A thousand that are refused at the same moment would also come back at the same moment, and delay all others.
    const shareMs = entry.tries > 0 ? waitMs * (0.5 + Math.random() / 2) : waitMs;
    const slot = entry.state === 'started' ? Promise.resolve() : this.wait(entry, signal, shareMs);
    this.apply(decisions);
    return slot.then(() => this.occupy(entry, signal));
  }

  private wait(entry: Entry, signal: AbortSignal, waitMs: number): Promise<void> {
    const refuse = (fault: 'dial-busy' | 'dial-cancelled'): void => {
      this.queue.leave(entry, fault === 'dial-busy', this.now());
      wait.reject(new WstunError(fault));
    };
    const wait = new AbortableWait<void>({
      ...{ clock: systemClock, signal, limitMs: waitMs },
      onExpired: () => refuse('dial-busy'),
      onAbort: () => refuse('dial-cancelled'),
      onSettled: () => this.waiters.delete(entry),
    });
    this.waiters.set(entry, wait);
    return wait.promise;
  }

  private occupy(entry: Entry, signal: AbortSignal): Slot {
    const controller = new AbortController();
    const abort = (): void => controller.abort();
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    this.takers.set(entry, controller);
    return {
      signal: controller.signal,
      get isEvicted() {
        return entry.state === 'evicted';
      },
      release: (answered) => {
        signal.removeEventListener('abort', abort);
        this.takers.delete(entry);
        this.apply(this.queue.end(entry, answered, this.now()));
      },
    };
  }

  private apply({ started, evicted }: Decisions): void {
    for (const entry of started) this.waiters.get(entry)?.resolve();
    for (const entry of evicted) this.takers.get(entry)?.abort();
    if (this.queue.waiting === 0) {
      clearTimeout(this.look);
      this.look = undefined;
    } else {
      this.look ??= setTimeout(() => {
        this.look = undefined;
        this.apply(this.queue.advance(this.now()));
      }, LOOK_MS).unref();
    }
  }
}

/** How long an offer may still wait for slots: look-up and dial together. */
export class WaitBudget {
  constructor(private leftMs: number) {}

  async spend<T>(wait: (leftMs: number) => Promise<T>): Promise<T> {
    const since = performance.now();
    const outcome = await wait(this.leftMs);
    this.leftMs = Math.max(0, this.leftMs - (performance.now() - since));
    return outcome;
  }
}

interface Want {
  readonly peer: string;
  readonly destinations: readonly Destination[];
  readonly signal: AbortSignal;
  readonly waitBudget: WaitBudget;
}

/** Faults that are an answer of the target or of a name server. Others come from elsewhere, or from silence. */
const ANSWERS: ReadonlySet<FaultName> = new Set(['dial-refused', 'target-reset', 'dial-name-unknown']);

/** Acts in a slot of its own. Rejects as `acquire` and `act` do, and with `dial-busy` if it was evicted. */
export async function withSlot<T>(
  slots: DialSlots,
  { peer, destinations, signal, waitBudget }: Want,
  act: (within: AbortSignal) => Promise<T>,
): Promise<T> {
  const slot = await waitBudget.spend((leftMs) => slots.acquire(peer, destinations, signal, leftMs));
  let answered = false;
  try {
    if (signal.aborted) throw new WstunError('dial-cancelled');
    const outcome = await act(slot.signal);
    answered = true;
    return outcome;
  } catch (error) {
    answered = error instanceof WstunError && ANSWERS.has(error.fault);
    if (slot.isEvicted)
      throw new WstunError('dial-busy', 'there was no answer for seconds, and other connections waited for the slot');
    throw error;
  } finally {
    slot.release(answered);
  }
}
