/**
 * Which datagrams of a queue are dropped, so that one that never empties stays short: CoDel (RFC 8289 §5). A transfer
 * within an association, as of a VPN, then slows down, in place of filling the queue up to its bound. Pure.
 */

/** A standing queue of less delay is good: it keeps the path busy. ms; RFC 8289 §4.4 has 5, for packets not records. */
const TARGET_MS = 10;
/** So long must all datagrams have waited for longer before the first is dropped, ms: RFC 8289 §4.3. */
const INTERVAL_MS = 100;
/** And not less than so many full datagrams take. */
const TARGET_DATAGRAMS = 3;
/** One full datagram, bytes. */
const FULL_DATAGRAM_BYTES = 1_500;
/**
 * With no more than this left, bytes, the queue is short whatever the delay. RFC 8289 has one packet; here a busy
 * machine, too, lets several gather, and a call must not lose any for that.
 */
const SHORT_BYTES = 8 * 1024;
/** The queue was long again within so many intervals: the drops go on where they were (RFC 8289 §5.6). */
const SOON_INTERVALS = 16;

export class Codel {
  /** When all datagrams will have waited too long for an interval; undefined while one did not. */
  private dueAt: number | undefined;
  private isDropping = false;
  private nextDropAt = 0;
  private count = 0;
  private lastCount = 0;

  /**
   * Whether the datagram that is next is to be dropped. Ask for each.
   * @param waitedMs in the queue @param bytes of the queue, with this one @param bytesPerMs of the path, at least
   */
  mustDrop(waitedMs: number, bytes: number, bytesPerMs: number, now: number): boolean {
    const isLong = this.isLong(waitedMs, bytes, bytesPerMs, now);
    if (!this.isDropping) return isLong && this.beginDropping(now);
    if (!isLong) this.isDropping = false;
    if (!this.isDropping || now < this.nextDropAt) return false;
    this.count += 1;
    this.nextDropAt = nextAfter(this.nextDropAt, this.count);
    return true;
  }

  private isLong(waitedMs: number, bytes: number, bytesPerMs: number, now: number): boolean {
    // On a slow path one datagram alone makes the next wait for longer than that (RFC 8289 §4.4).
    const targetMs = Math.max(TARGET_MS, (TARGET_DATAGRAMS * FULL_DATAGRAM_BYTES) / Math.max(1, bytesPerMs));
    if (waitedMs < targetMs || bytes <= SHORT_BYTES) {
      this.dueAt = undefined;
      return false;
    }
    this.dueAt ??= now + INTERVAL_MS;
    return now >= this.dueAt;
  }

  private beginDropping(now: number): true {
    const isSoon = now - this.nextDropAt < SOON_INTERVALS * INTERVAL_MS;
    const added = this.count - this.lastCount;
    this.isDropping = true;
    this.count = isSoon && added > 1 ? added : 1;
    this.nextDropAt = nextAfter(now, this.count);
    this.lastCount = this.count;
    return true;
  }
}

function nextAfter(at: number, count: number): number {
  return at + INTERVAL_MS / Math.sqrt(count);
}
