/** Answers for as long as they are valid, bounded in number and bytes; the one used longest ago makes room. Pure. */
import { lifetimeOf } from './lifetime.ts';

/** What a laptop's programs ask in some hours. */
const MAX_ENTRIES = 4096;
/** An answer has some hundred bytes; a few may have 64 KiB. */
const MAX_BYTES = 4 * 1024 * 1024;

interface Entry {
  readonly answer: Uint8Array;
  /** Ms of the clock. */
  readonly at: number;
  readonly until: number;
}

export interface CacheBounds {
  readonly entries: number;
  readonly bytes: number;
}

export class AnswerCache {
  private readonly entries = new Map<string, Entry>();
  /** Of all answers. */
  private held = 0;

  constructor(private readonly most: CacheBounds = { entries: MAX_ENTRIES, bytes: MAX_BYTES }) {}

  get size(): number {
    return this.entries.size;
  }

  get bytes(): number {
    return this.held;
  }

  /** Keeps it if its records say so. @param now ms */
  put(key: string, answer: Uint8Array, now: number): void {
    this.delete(key);
    const seconds = lifetimeOf(answer);
    if (seconds === 0 || answer.length > this.most.bytes) return;
    this.entries.set(key, { answer, at: now, until: now + seconds * 1000 });
    this.held += answer.length;
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= this.most.entries && this.held <= this.most.bytes) return;
      this.delete(oldest);
    }
  }

  /** The answer, and whole seconds since it came. @param now ms */
  get(key: string, now: number): { readonly answer: Uint8Array; readonly ageS: number } | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    if (now >= entry.until) {
      this.delete(key);
      return undefined;
    }
    this.entries.delete(key);
    this.entries.set(key, entry);
    return { answer: entry.answer, ageS: Math.floor((now - entry.at) / 1000) };
  }

  private delete(key: string): void {
    this.held -= this.entries.get(key)?.answer.length ?? 0;
    this.entries.delete(key);
  }
}
