/**
 * The bandwidth of access entries: all streams of an entry share one bucket for each direction, and take turns. Decides
 * when bytes are passed on; tunnel/stream/socket-pipe.ts knows what they are, and how a waiting stream applies
 * back-pressure. Datagrams do not wait: beyond the rate they are lost.
 */
import type { Piece } from '../memory/pieces.ts';
import type { LimiterSink, RateLimiter } from '../tunnel/stream/socket-pipe.ts';
import { ByteBucket } from './byte-bucket.ts';

/** Ms: after this at the latest, a new rate applies to waiting streams. */
const LOOK_AGAIN_MS = 250;

/** Bytes a second; undefined: no limit. */
type RateNow = () => number | undefined;

interface Held {
  rest: Piece;
  readonly sink: LimiterSink;
}

class SharedRateLimiter implements EntryRateLimiter {
  private readonly bucket = new ByteBucket(performance.now());
  /** Of datagrams alone, which would otherwise leave nothing for streams: those wait for a whole piece. */
  private readonly datagrams = new ByteBucket(performance.now());
  /** At most one for each stream, in the order of their turns. */
  private readonly held = new Set<Held>();
  private timer: NodeJS.Timeout | undefined;
  private flushing = false;

  constructor(private readonly rate: RateNow) {}

  send(chunk: Piece, sink: LimiterSink): void {
    if (this.held.size === 0 && this.rate() === undefined) return sink.deliver(chunk);
    this.held.add({ rest: chunk, sink });
    if (!this.flushing && this.timer === undefined) this.flush();
  }

  passes(bytes: number): boolean {
    const rate = this.rate();
    if (rate === undefined) return true;
    const now = performance.now();
    const share = this.held.size > 0 ? rate / 2 : rate;
    if (!this.datagrams.takeWhole(bytes, share, now)) return false;
    this.bucket.spend(bytes, rate, now);
    return true;
  }

  private readonly flush = (): void => {
    this.timer = undefined;
    this.flushing = true;
    const now = performance.now();
    const rate = this.rate();
    let waitMs = 0;
    // A Set iterates in the order of insertion, and what is added meanwhile comes last: they take turns.
    for (const held of this.held) {
      const length = held.sink.isGone() ? undefined : this.share(held, rate, now);
      if (length === 0) {
        waitMs = rate === undefined ? 0 : this.bucket.waitMs(held.rest.length, rate, now);
        break;
      }
      this.held.delete(held);
      if (length !== undefined) this.deliver(held, length);
    }
    this.flushing = false;
    if (this.held.size > 0) this.timer = setTimeout(this.flush, Math.min(Math.ceil(waitMs), LOOK_AGAIN_MS)).unref();
  };

  private share({ rest }: Held, rate: number | undefined, now: number): number {
    return rate === undefined ? rest.length : this.bucket.take(rest.length, rate, now);
  }

  private deliver(held: Held, length: number): void {
    const piece = held.rest.subarray(0, length);
    held.rest = held.rest.subarray(length);
    if (held.rest.length > 0) this.held.add(held);
    held.sink.deliver(piece);
  }
}

interface EntryRateLimiter extends RateLimiter {
  /** Whether a datagram may pass; counts it if so. */
  passes(bytes: number): boolean;
}

/** From the target, and to it. */
interface RateLimiters {
  readonly fromSocket: EntryRateLimiter;
  readonly toSocket: EntryRateLimiter;
}

/** Ms: after this, even the slowest bucket is full again, so a new one is no different. */
const KEPT_IDLE_MS = 10_000;

/** The limiters of all entries, kept for a while after the last stream has ended: a new bucket would be full. */
export class EntryLimiter {
  private readonly limiters = new Map<string, { readonly limiters: RateLimiters; streams: number }>();
  /** Entries without a stream, and since when; the oldest first. */
  private readonly idle = new Map<string, number>();

  /** `rateOf`: bits a second in each direction, asked for every chunk; undefined: no limit. */
  constructor(private readonly rateOf: (peer: string) => number | undefined) {}

  /** Entries that are remembered. */
  get size(): number {
    return this.limiters.size;
  }

  /** For one stream, until `release`. @param now ms, monotonic */
  hold(peer: string, now = performance.now()): RateLimiters {
    this.forgetIdle(now);
    this.idle.delete(peer);
    const known = this.limiters.get(peer);
    if (known) {
      known.streams++;
      return known.limiters;
    }
    const rate = (): number | undefined => {
      const bits = this.rateOf(peer);
      return bits === undefined ? undefined : bits / 8;
    };
    const limiters = { fromSocket: new SharedRateLimiter(rate), toSocket: new SharedRateLimiter(rate) };
    this.limiters.set(peer, { limiters, streams: 1 });
    return limiters;
  }

  /** A stream that held them is over. */
  release(peer: string, now = performance.now()): void {
    const known = this.limiters.get(peer);
    if (known !== undefined && --known.streams === 0) this.idle.set(peer, now);
    this.forgetIdle(now);
  }

  private forgetIdle(now: number): void {
    for (const [peer, since] of this.idle) {
      if (now - since < KEPT_IDLE_MS) return;
      this.idle.delete(peer);
      this.limiters.delete(peer);
    }
  }
}
