/**
 * Whose turn it is: streams with something to send, in the order in which they came to have it, one frame a turn. A stream that
 * becomes ready waits for at most one frame of each other. Pure.
 */
import type { StreamState } from './stream-state.ts';

export class Scheduler {
  private ring: StreamState[] = [];

  /** Idempotent. */
  add(stream: StreamState): void {
    if (stream.scheduled || !stream.sendable) return;
    stream.scheduled = true;
    this.ring.push(stream);
  }

  /** Takes the next stream that can send out of the ring; the caller adds it again after its frame. */
  next(): StreamState | undefined {
    for (let stream = this.ring.shift(); stream; stream = this.ring.shift()) {
      stream.scheduled = false;
      if (stream.sendable) return stream;
    }
    return undefined;
  }

  get isEmpty(): boolean {
    return this.ring.length === 0;
  }

  clear(): void {
    this.ring = [];
  }
}
