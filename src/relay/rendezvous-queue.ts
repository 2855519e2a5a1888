/**
 * Which waiting client an exit is called for next. Pure: knows peers and times, no links. An exit answers so many
 * calls at once; their places go round the peers that wait, and each peer has a rate: whoever has many calls waits
 * for himself alone.
 */
import { Pace, type Rate } from './notice-rate.ts';

/**
 * Of one peer. A thousand clients that share one key are led on within 25 s of a restart; somebody who opens links
 * and drops them costs the exit 30 dials a second, a tenth of a core.
 */
const BEARER_CALLS: Rate = { perSecond: 30, burst: 256 };
/** Places of its own, whoever else waits. */
const LEAST_PLACES = 8;
/** Of one peer in the line: as many as its rate lets through within the time that a client waits. */
const MAX_WAITING_OF_BEARER = 256;
/**
 * Peers of late remembered for their rate; 0.1 KB each. The least busy are forgotten first, once theirs is as good as
 * new.
 */
const REMEMBERED = 1_024;

interface Line<T> {
  readonly waiting: Set<T>;
  /** Called, and the exit has not answered yet: also those that went meanwhile, since it dials for them too. */
  called: number;
  readonly pace: Pace;
}

export interface RendezvousQueueLimits {
  /** Calls that the exit has not answered. */
  readonly called: number;
  /** Clients in the line. */
  readonly waiting: number;
}

export class RendezvousQueue<T> {
  private readonly limits: RendezvousQueueLimits;
  /** In turn: whoever was called for goes to the end. */
  private readonly lines = new Map<string, Line<T>>();
  private called = 0;
  private waitingCount = 0;

  constructor(limits: RendezvousQueueLimits) {
    this.limits = limits;
  }

  get waiting(): number {
    return this.waitingCount;
  }

  get isIdle(): boolean {
    return this.waitingCount === 0 && this.called === 0;
  }

  /** False: there is no room. One peer alone gets half of what there is, so that there is some for others. */
  join(peer: string, client: T, now: number): boolean {
    const line = this.lineOf(peer, now);
    const free = this.limits.waiting - this.waitingCount;
    if (free <= 0 || line.waiting.size >= Math.min(MAX_WAITING_OF_BEARER, free)) return false;
    line.waiting.add(client);
    this.waitingCount += 1;
    return true;
  }

  /** It waits no more. */
  leave(peer: string, client: T): void {
    if (this.lines.get(peer)?.waiting.delete(client)) this.waitingCount -= 1;
  }

  /** Whom to call the exit for now, if anybody. From then on its place is taken until `answered`. */
  next(now: number): T | undefined {
    for (const [peer, line] of this.lines) {
      const [client] = line.waiting;
      if (client === undefined || !this.hasPlace(line) || !line.pace.take(now)) continue;
      this.leave(peer, client);
      line.called += 1;
      this.called += 1;
      this.lines.delete(peer);
      this.lines.set(peer, line);
      return client;
    }
    return undefined;
  }

  /** A call was answered, or will not be. */
  answered(peer: string): void {
    const line = this.lines.get(peer);
    if (line === undefined || line.called === 0) return;
    line.called -= 1;
    this.called -= 1;
  }

  /** Until a peer's rate lets the next one through; undefined where time alone changes nothing. */
  waitMs(now: number): number | undefined {
    let least: number | undefined;
    for (const line of this.lines.values()) {
      if (line.waiting.size === 0 || !this.hasPlace(line)) continue;
      least = Math.min(least ?? Number.POSITIVE_INFINITY, line.pace.waitMs(now));
    }
    return least;
  }

  /** Of the places, a peer may have half of those that are free, and a few in any case. */
  private hasPlace({ called }: Line<T>): boolean {
    const free = this.limits.called - this.called;
    return free > 0 && called < Math.max(LEAST_PLACES, free);
  }

  private lineOf(peer: string, now: number): Line<T> {
    const known = this.lines.get(peer);
    if (known !== undefined) return known;
    if (this.lines.size >= REMEMBERED) this.forget(now);
    const line = { waiting: new Set<T>(), called: 0, pace: new Pace(BEARER_CALLS, now) };
    this.lines.set(peer, line);
    return line;
  }

  private forget(now: number): void {
    for (const [peer, { waiting, called, pace }] of this.lines)
      if (waiting.size === 0 && called === 0 && pace.isFull(now)) this.lines.delete(peer);
  }
}
