/**
 * How many offers may be looked up, or dialled, at once. Who comes when there is no place for it waits in line for a
 * while, because an honest program opens hundreds of connections in one go. Whose turn it is, and who gives way, is
 * decided in dial-queue.ts; here are the timers and signals around it.
 */
import { type FaultName, WstunError } from '../errors.ts';
import type { Destination } from './destinations.ts';
import { type Decisions, DialQueue, type Entry, type QueueLimits } from './dial-queue.ts';

export interface DialSlotLimits extends QueueLimits {
  /**
   * Of one peer. Default 256, of which three quarters for one kind of destinations. Each costs up to 8 sockets and 10
   * KB.
   */
  readonly pendingPerPeer: number;
  /** Of all peers together. Default 1,024: with 8 sockets each at worst 8,192 file descriptors. */
  readonly pendingTotal: number;
  /**
   * How long an offer waits for places in all, ms. Default 4,000: with 5 s for the look-up and 10 s for the dial it is
   * answered within the 20 s for which a client waits. How many wait is bounded by the sessions' streams (about 200
   * bytes each).
   */
  readonly waitMs: number;
}

export const DEFAULT_DIAL_SLOT_LIMITS: DialSlotLimits = { pendingPerPeer: 256, pendingTotal: 1_024, waitMs: 4_000 };

/**
 * While somebody waits: how often it is looked whether time alone has made room, ms. Nobody notices a twentieth of a
 * second.
 */
const LOOK_MS = 50;

export interface Place {
  /** Fires when the offer is given up, or has to give way. */
  readonly signal: AbortSignal;
  /** Whether it had to give way. */
  readonly isEvicted: boolean;
  /**
   * Nothing is left of what took it. `answered`: the target, or a name server, did, in whatever way. Only the first
   * call counts.
   */
  giveBack(answered: boolean): void;
}

export class DialSlots {
  private readonly queue: DialQueue;
  private readonly now: () => number;
  private readonly waiters = new Map<Entry, () => void>();
  private readonly takers = new Map<Entry, AbortController>();
  private look: NodeJS.Timeout | undefined;

  /** `now` in ms, monotonic. */
  constructor(limits: QueueLimits, now: () => number = () => performance.now()) {
    this.queue = new DialQueue(limits);
    this.now = now;
  }

  get taken(): number {
    return this.queue.taken;
  }

  /**
   * Resolves when a place is the caller's. Rejects with `dial-busy` after `waitMs`, `dial-cancelled` when the signal
   * fires.
   */
  take(peer: string, destinations: readonly Destination[], signal: AbortSignal, waitMs: number): Promise<Place> {
    if (signal.aborted) return Promise.reject(new WstunError('dial-cancelled'));
    const { entry, decisions } = this.queue.ask(peer, destinations, this.now());
    // A thousand that are refused in one instant come back in one instant, too, and hold up everybody.
    const shareMs = entry.tries > 0 ? waitMs * (0.5 + Math.random() / 2) : waitMs;
    const place = entry.state === 'started' ? Promise.resolve() : this.wait(entry, signal, shareMs);
    this.apply(decisions);
    return place.then(() => this.occupy(entry, signal));
  }

  private wait(entry: Entry, signal: AbortSignal, waitMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(limit);
        signal.removeEventListener('abort', onAbort);
        this.waiters.delete(entry);
      };
      const refuse = (fault: 'dial-busy' | 'dial-cancelled'): void => {
        settle();
        this.queue.leave(entry, fault === 'dial-busy', this.now());
        reject(new WstunError(fault));
      };
      const onAbort = (): void => refuse('dial-cancelled');
      const limit = setTimeout(refuse, waitMs, 'dial-busy');
      signal.addEventListener('abort', onAbort);
      this.waiters.set(entry, () => {
        settle();
        resolve();
      });
    });
  }

  private occupy(entry: Entry, signal: AbortSignal): Place {
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
      giveBack: (answered) => {
        signal.removeEventListener('abort', abort);
        this.takers.delete(entry);
        this.apply(this.queue.end(entry, answered, this.now()));
      },
    };
  }

  private apply({ started, evicted }: Decisions): void {
    for (const entry of started) this.waiters.get(entry)?.();
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

/** How long an offer still waits for places: for all of them together. */
export class Patience {
  private leftMs: number;

  constructor(ms: number) {
    this.leftMs = ms;
  }

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
  readonly patience: Patience;
}

/** Faults that are an answer: by the target, or by a name server. Others come from elsewhere, or of silence. */
const ANSWERS: ReadonlySet<FaultName> = new Set(['dial-refused', 'target-reset', 'dial-name-unknown']);

/** Acts in a place of its own. Rejects as `take` does, as `act` does, and with `dial-busy` where it had to give way. */
export async function withSlot<T>(
  places: DialSlots,
  { peer, destinations, signal, patience }: Want,
  act: (within: AbortSignal) => Promise<T>,
): Promise<T> {
  const place = await patience.spend((leftMs) => places.take(peer, destinations, signal, leftMs));
  let answered = false;
  try {
    if (signal.aborted) throw new WstunError('dial-cancelled');
    const outcome = await act(place.signal);
    answered = true;
    return outcome;
  } catch (error) {
    answered = error instanceof WstunError && ANSWERS.has(error.fault);
    if (place.isEvicted)
      throw new WstunError('dial-busy', 'there was no answer for seconds, and other connections waited for the slot');
    throw error;
  } finally {
    place.giveBack(answered);
  }
}
