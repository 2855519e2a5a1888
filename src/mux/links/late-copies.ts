/**
 * Small records that someone waits for, while more than one link carries the session: each is sent again on another
 * link if its acknowledgement is late. Bounded by a share of what is sent. Pure.
 */
import type { RecordPart } from './kept-records.ts';
import { LITTLE_BYTES } from './record-order.ts';
import type { SessionLink } from './session-link.ts';

/** Copies are at most this share of all bytes sent, beside a burst. */
const COPY_SHARE = 0.02;
const COPY_BURST_BYTES = 16 * 1024;
const MAX_ALLOWANCE_BYTES = 256 * 1024;
/** A record is late so many ms after the round trip, which counts up to so many times that of the empty path. */
const LATE_ROUND_TRIPS = 1.25;
const LATE_MS = 8;
/** What is watched at once. */
const MAX_WATCHED = 256;

interface Watched {
  readonly part: RecordPart;
  readonly link: SessionLink;
  readonly dueAt: number;
}

export class LateCopies {
  private watched: Watched[] = [];
  /** What may be sent again, bytes. */
  private allowance = COPY_BURST_BYTES;

  /** So much was sent, of whatever kind. */
  onSent(bytes: number): void {
    this.allowance = Math.min(MAX_ALLOWANCE_BYTES, this.allowance + bytes * COPY_SHARE);
  }

  /** The part went out on the link. */
  watch(part: RecordPart, link: SessionLink, now: number): void {
    if (part.length > LITTLE_BYTES || this.watched.length >= MAX_WATCHED) return;
    const { congestion, roundTripMs } = link;
    const usualMs = Math.min(roundTripMs, LATE_ROUND_TRIPS * (congestion.minRttMs ?? roundTripMs));
    this.watched.push({ part, link, dueAt: now + usualMs + LATE_MS });
  }

  /** When the first one is late; Infinity where none is watched. */
  get dueAt(): number {
    let at = Number.POSITIVE_INFINITY;
    for (const { part, dueAt } of this.watched) if (!part.record.isAcked && dueAt < at) at = dueAt;
    return at;
  }

  /** One that is late, and the link on which it is; it is not watched any more. */
  take(now: number): { part: RecordPart; link: SessionLink } | undefined {
    this.watched = this.watched.filter(({ part }) => !part.record.isAcked);
    for (;;) {
      const index = this.watched.findIndex(({ dueAt }) => dueAt <= now);
      const [late] = index < 0 ? [] : this.watched.splice(index, 1);
      if (late === undefined) return undefined;
      // What waits to be sent again needs no copy.
      if (late.part.isQueued || late.part.length > this.allowance) continue;
      this.allowance -= late.part.length;
      return late;
    }
  }
}
