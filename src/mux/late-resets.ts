/** Streams whose RESET follows what they have queued (docs/protocol.md §7): how long one waits when stuck. Pure. */
import type { StreamState } from './stream-state.ts';

export class LateResets {
  /** The last progress of each, the oldest first: a Map keeps the order of insertion. Most sessions have none. */
  private progress: Map<StreamState, number> | undefined;

  constructor(private readonly limitMs: number) {}

  /** It begins to wait, or has made progress. */
  note(stream: StreamState, now: number): void {
    this.progress ??= new Map();
    this.progress.delete(stream);
    this.progress.set(stream, now);
  }

  delete(stream: StreamState): void {
    this.progress?.delete(stream);
    if (this.progress?.size === 0) this.progress = undefined;
  }

  /** A new link: without one, none could make progress. */
  restart(now: number): void {
    for (const stream of [...(this.progress?.keys() ?? [])]) this.note(stream, now);
  }

  overdue(now: number): StreamState[] {
    const entries = [...(this.progress ?? [])];
    return entries.filter(([, since]) => now - since >= this.limitMs).map(([stream]) => stream);
  }

  nextTimeout(): number {
    for (const since of this.progress?.values() ?? []) return since + this.limitMs;
    return Number.POSITIVE_INFINITY;
  }
}
