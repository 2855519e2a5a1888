/**
 * What access entries move: the rate and the quota of each, how much of what is open now, and who ends when a quota is
 * used up. Knows neither sockets nor streams.
 */
import { type WireFaultName, WstunError } from '../errors.ts';
import type { RateLimiter } from '../tunnel/stream/socket-pipe.ts';
import { EntryLimiter } from './peer-rate-limiter.ts';
import { StreamCounts } from './stream-counts.ts';

export interface Quotas {
  isUsedUp(peer: string): boolean;
  /** Payload bytes, of either direction. */
  count(peer: string, bytes: number): void;
}

export interface TrafficOptions {
  /** Bits a second in each direction for all that an access entry has open, currently; undefined: no limit. */
  readonly rateOf?: (peer: string) => number | undefined;
  /** What access entries may use and have used. */
  readonly quotas?: Quotas;
  /** Default: nobody reads them. */
  readonly counts?: StreamCounts;
}

type Direction = 'fromSocket' | 'toSocket';

/** Of one thing that is open: a stream, an association. */
export interface TrafficShare {
  /** For its bytes. */
  readonly limiters: Readonly<Record<Direction, RateLimiter>>;
  /** Whether a datagram may pass; counted if so. */
  passes(direction: Direction, bytes: number): boolean;
  /** Once. */
  end(): void;
}

export class Traffic {
  private readonly limiters: EntryLimiter;
  private readonly quotas: Quotas | undefined;
  /** How each thing that is open ends, by peer. */
  private readonly live = new Map<string, Set<(fault: WireFaultName) => void>>();
  private readonly counts: StreamCounts;

  constructor({ rateOf = () => undefined, quotas, counts = new StreamCounts() }: TrafficOptions) {
    this.counts = counts;
    this.limiters = new EntryLimiter(rateOf);
    this.quotas = quotas;
  }

  get open(): number {
    return this.counts.open;
  }

  /** Since the start. */
  get opened(): number {
    return this.counts.opened;
  }

  /** @throws WstunError quota-used */
  requireQuota(peer: string): void {
    if (this.quotas?.isUsedUp(peer)) throw new WstunError('quota-used');
  }

  /** @param abort called, perhaps more than once, when the quota is used up */
  begin(peer: string, abort: (fault: WireFaultName) => void): TrafficShare {
    this.counts.open++;
    this.counts.opened++;
    const ends = this.live.get(peer) ?? new Set();
    this.live.set(peer, ends.add(abort));
    const limiters = this.limiters.hold(peer);
    return {
      limiters: {
        fromSocket: this.counted(peer, limiters.fromSocket),
        toSocket: this.counted(peer, limiters.toSocket),
      },
      passes: (direction, bytes) => {
        if (!limiters[direction].passes(bytes)) return false;
        this.count(peer, bytes);
        return true;
      },
      end: () => {
        this.counts.open--;
        this.limiters.release(peer);
        ends.delete(abort);
        if (ends.size === 0 && this.live.get(peer) === ends) this.live.delete(peer);
      },
    };
  }

  private counted(peer: string, limiter: RateLimiter): RateLimiter {
    if (this.quotas === undefined) return limiter;
    return {
      send: (chunk, sink) => {
        const { length } = chunk;
        limiter.send(chunk, sink);
        this.count(peer, length);
      },
    };
  }

  private count(peer: string, bytes: number): void {
    const { quotas } = this;
    if (quotas === undefined) return;
    quotas.count(peer, bytes);
    if (!quotas.isUsedUp(peer)) return;
    for (const abort of [...(this.live.get(peer) ?? [])]) abort('quota-used');
  }
}
