/**
 * Which held client an exit gets a request for next. Pure. An exit answers a limited number of requests at once. The
 * peers that wait take turns, and each has a rate, so that a peer with many clients delays only itself.
 */
import { type RateLimit, TokenBucket } from '../limits/token-bucket.ts';

/** Of one peer: 1,000 clients of one key connect within 25 s. Clients that only open links cost a tenth of a core. */
const REQUESTS_OF_PEER: RateLimit = { perSecond: 30, burst: 256 };
/** Slots that a peer may have in any case. */
const MIN_SLOTS_OF_PEER = 8;
/** Waiting, of one peer: as many as its rate lets through within the time that a client waits. */
const MAX_WAITING_OF_PEER = 256;
/** Peers whose rate is remembered; 0.1 KB each. Beyond, those whose limiters are full are dropped. */
const MAX_PEERS = 1_024;

interface PeerQueue<T> {
  readonly waiting: Set<T>;
  /** The same, of further links of sessions: they come after all others. */
  readonly further: Set<T>;
  /** Requests that the exit has not answered, those included whose clients have gone: it dials for them too. */
  requested: number;
  readonly limiter: TokenBucket;
}

export interface RendezvousQueueLimits {
  /** Requests that the exit has not answered. */
  readonly requested: number;
  /** Clients that wait for their request. */
  readonly waiting: number;
}

export class RendezvousQueue<T> {
  /** In turn: a peer that got a request goes to the end. */
  private readonly queues = new Map<string, PeerQueue<T>>();
  private requested = 0;
  private waitingCount = 0;

  constructor(private readonly limits: RendezvousQueueLimits) {}

  get waiting(): number {
    return this.waitingCount;
  }

  get isIdle(): boolean {
    return this.waitingCount === 0 && this.requested === 0;
  }

  /**
   * False: there is no room. One peer gets half of the room, so that there is always some for others.
   * @param isFurther one more link of a session: it gets half of that again, and its turn after all that are not
   */
  join(peer: string, client: T, now: number, isFurther = false): boolean {
    const queue = this.queueOf(peer, now);
    const free = this.limits.waiting - this.waitingCount;
    const room = Math.min(MAX_WAITING_OF_PEER, free) / (isFurther ? 2 : 1);
    if (free <= 0 || queue.waiting.size + queue.further.size >= room) return false;
    (isFurther ? queue.further : queue.waiting).add(client);
    this.waitingCount += 1;
    return true;
  }

  /** The client does not wait any more. */
  leave(peer: string, client: T): void {
    const queue = this.queues.get(peer);
    if (queue?.waiting.delete(client) || queue?.further.delete(client)) this.waitingCount -= 1;
  }

  /** The client whose turn it is now, if any. From then on its slot is taken until `answered`. */
  next(now: number): T | undefined {
    return this.nextOf('waiting', now) ?? this.nextOf('further', now);
  }

  private nextOf(kind: 'waiting' | 'further', now: number): T | undefined {
    for (const [peer, queue] of this.queues) {
      const [client] = queue[kind];
      if (client === undefined || !this.hasSlot(queue) || !queue.limiter.acquire(now)) continue;
      this.leave(peer, client);
      queue.requested += 1;
      this.requested += 1;
      this.queues.delete(peer);
      this.queues.set(peer, queue);
      return client;
    }
    return undefined;
  }

  /** A request of that peer was answered, or expired. */
  answered(peer: string): void {
    const queue = this.queues.get(peer);
    if (queue === undefined || queue.requested === 0) return;
    queue.requested -= 1;
    this.requested -= 1;
  }

  /** Until a peer's rate lets the next one through; undefined where only an answer or a client can change something. */
  waitMs(now: number): number | undefined {
    let least: number | undefined;
    for (const queue of this.queues.values()) {
      if (isEmpty(queue) || !this.hasSlot(queue)) continue;
      least = Math.min(least ?? Number.POSITIVE_INFINITY, queue.limiter.waitMs(now));
    }
    return least;
  }

  /** A peer may have half of the free slots, and a few in any case. */
  private hasSlot({ requested }: PeerQueue<T>): boolean {
    const free = this.limits.requested - this.requested;
    return free > 0 && requested < Math.max(MIN_SLOTS_OF_PEER, free);
  }

  private queueOf(peer: string, now: number): PeerQueue<T> {
    const known = this.queues.get(peer);
    if (known !== undefined) return known;
    if (this.queues.size >= MAX_PEERS) this.dropIdlePeers(now);
    const queue = {
      waiting: new Set<T>(),
      further: new Set<T>(),
      requested: 0,
      limiter: new TokenBucket(REQUESTS_OF_PEER, now),
    };
    this.queues.set(peer, queue);
    return queue;
  }

  private dropIdlePeers(now: number): void {
    for (const [peer, queue] of this.queues)
      if (isEmpty(queue) && queue.requested === 0 && queue.limiter.isFull(now)) this.queues.delete(peer);
  }
}

function isEmpty({ waiting, further }: PeerQueue<unknown>): boolean {
  return waiting.size + further.size === 0;
}
