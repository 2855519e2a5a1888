/**
 * Which bytes of the up stream the client's next *up* request carries, and of what size: what was lost first, then what
 * is new. Pure, time passed in.
 */
import { paddingFor } from './blocks.ts';
import {
  BODY_FAST_MS,
  BODY_SLOW_MS,
  FIRST_BODY_BYTES,
  MAX_BODY_BYTES,
  MAX_UPS,
  MIN_BODY_BYTES,
  NEXT_BODY_BYTES,
  NEXT_BODY_MS,
  WINDOW_BYTES,
} from './http-limits.ts';
import type { StreamSender } from './stream-sender.ts';

/** Of the up stream, from one offset to another. */
export interface UpBody {
  readonly from: number;
  readonly to: number;
  readonly sentAt: number;
}

export class UpSchedule {
  private readonly underWay = new Set<UpBody>();
  /** To be sent again; the lowest first. */
  private lost: { from: number; to: number }[] = [];
  private nextNew = 0;
  private bodyBytes = FIRST_BODY_BYTES;
  /** When the last request began. */
  private startedAt = 0;

  constructor(private readonly sender: StreamSender) {}

  /** Appended and in no request yet. */
  get unsentBytes(): number {
    return this.sender.end - this.nextNew;
  }

  get requestsUnderWay(): number {
    return this.underWay.size;
  }

  /** Where the body of an empty request begins. */
  get position(): number {
    return this.nextNew;
  }

  /** The size of a large body at the moment, for tests. */
  get targetBytes(): number {
    return this.bodyBytes;
  }

  /** What to send now; undefined if there is nothing, or enough is under way. */
  poll(now: number): UpBody | undefined {
    if (this.underWay.size >= MAX_UPS) return undefined;
    const range = this.nextLost() ?? this.nextFresh(now);
    if (range === undefined) return undefined;
    this.startedAt = now;
    const body = { ...range, sentAt: now };
    this.underWay.add(body);
    return body;
  }

  /** @param received what the relay has, already acknowledged at the sender */
  handleAnswer(body: UpBody, received: number, now: number): void {
    this.underWay.delete(body);
    const bytes = body.to - body.from;
    const took = now - body.sentAt;
    if (received < body.to) {
      this.markLost(Math.max(received, body.from), body.to);
    } else if (took > BODY_SLOW_MS && bytes * 2 >= this.bodyBytes) {
      this.bodyBytes = Math.max(MIN_BODY_BYTES, Math.floor((bytes * BODY_SLOW_MS) / took));
    } else if (took < BODY_FAST_MS && bytes * 2 >= this.bodyBytes) {
      this.bodyBytes = Math.min(MAX_BODY_BYTES, this.bodyBytes * 2);
    }
  }

  /** The request got no answer, or none of the relay. */
  handleLost(body: UpBody): void {
    this.underWay.delete(body);
    this.markLost(body.from, body.to);
    this.bodyBytes = Math.max(MIN_BODY_BYTES, Math.floor(this.bodyBytes / 2));
  }

  private nextLost(): { from: number; to: number } | undefined {
    const { acknowledged } = this.sender;
    while (this.lost[0] !== undefined && this.lost[0].to <= acknowledged) this.lost.shift();
    const [first] = this.lost;
    if (first === undefined) return undefined;
    const from = Math.max(first.from, acknowledged);
    const to = Math.min(first.to, from + this.bodyBytes);
    if (to === first.to) this.lost.shift();
    else first.from = to;
    return { from, to };
  }

  /** When what waits is sent although it is little; Infinity: nothing waits for that. */
  get gatherUntil(): number {
    const waits = this.unsentBytes > 0 && this.underWay.size > 0 && this.underWay.size < MAX_UPS;
    return waits ? this.startedAt + NEXT_BODY_MS : Number.POSITIVE_INFINITY;
  }

  private mustGather(waiting: number, now: number): boolean {
    const isLittle = waiting < Math.min(NEXT_BODY_BYTES, this.bodyBytes);
    return isLittle && this.underWay.size > 0 && now - this.startedAt < NEXT_BODY_MS;
  }

  private nextFresh(now: number): { from: number; to: number } | undefined {
    const { sender } = this;
    const waiting = sender.end - this.nextNew;
    if (this.mustGather(waiting, now)) return undefined;
    const room = WINDOW_BYTES - (this.nextNew - sender.acknowledged);
    if (waiting <= 0 || room <= 0) return undefined;
    // Only after the last message: padding between others would be of no use.
    const padding = waiting < this.bodyBytes ? paddingFor(waiting) : 0;
    if (padding > 0) sender.appendPadding(padding);
    const from = this.nextNew;
    this.nextNew = Math.min(sender.end, from + Math.min(this.bodyBytes, room));
    return { from, to: this.nextNew };
  }

  private markLost(from: number, to: number): void {
    if (from >= to) return;
    this.lost.push({ from, to });
    this.lost.sort((a, b) => a.from - b.from);
  }
}
