/** Which numbers of requests were used, against replays (RFC 4303 §3.4.3). Pure. */

/** Requests of one client overtake each other by a few. */
const SEQUENCE_WINDOW = 256;
const WORD_BITS = 32;

export class SequenceWindow {
  private highest = 0;
  /** A ring of bits, by the number modulo SEQUENCE_WINDOW. */
  private readonly used = new Uint32Array(SEQUENCE_WINDOW / WORD_BITS);

  /** True once for each number, unless it is SEQUENCE_WINDOW or more below the highest. @param sequence 1 or more */
  accept(sequence: number): boolean {
    if (sequence <= this.highest - SEQUENCE_WINDOW) return false;
    if (sequence > this.highest) this.advance(sequence);
    else if (this.isSet(sequence)) return false;
    this.set(sequence);
    return true;
  }

  private advance(sequence: number): void {
    if (sequence - this.highest >= SEQUENCE_WINDOW) this.used.fill(0);
    else for (let i = this.highest + 1; i < sequence; i++) this.clear(i);
    this.highest = sequence;
  }

  private isSet(sequence: number): boolean {
    return ((this.used[wordOf(sequence)] ?? 0) & maskOf(sequence)) !== 0;
  }

  private set(sequence: number): void {
    this.used[wordOf(sequence)] = (this.used[wordOf(sequence)] ?? 0) | maskOf(sequence);
  }

  private clear(sequence: number): void {
    this.used[wordOf(sequence)] = (this.used[wordOf(sequence)] ?? 0) & ~maskOf(sequence);
  }
}

function wordOf(sequence: number): number {
  return Math.floor((sequence % SEQUENCE_WINDOW) / WORD_BITS);
}

function maskOf(sequence: number): number {
  return 1 << (sequence % WORD_BITS);
}
