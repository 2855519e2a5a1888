/**
 * How much each stream may send us: one budget for the session, divided into credit (docs/protocol.md §8). Pure.
 *
 * A stream's window starts at `initialWindowBytes` and doubles, up to `maxWindowBytes`, whenever half of it was
 * consumed within two round trips, as QUIC and yamux implementations do: then the window, not the path or the reader,
 * was the limit. When the budget is short, windows of streams that hold more than their share shrink as they are
 * consumed. Since credit once given is never taken back, `minWindowBytes` for each stream is outside the budget: no set
 * of stalled streams can starve another.
 */
import type { MuxConfig } from './config.ts';
import type { StreamState } from './stream-state.ts';

/** Until the first pong: a guess that lets windows grow on ordinary paths. */
const UNKNOWN_ROUND_TRIP_MS = 100;

/** A timer's and an event loop's grain: two round trips on loopback are less than one turn of a busy loop. */
const MIN_EPOCH_MS = 20;

export class ReceiveWindows {
  private committed = 0;
  private streams = 0;
  roundTripMs = UNKNOWN_ROUND_TRIP_MS;

  constructor(private readonly config: MuxConfig) {}

  /** Sum of granted and held bytes of all streams: at most `sessionWindowBytes` plus `minWindowBytes` a stream. */
  get committedBytes(): number {
    return this.committed;
  }

  /** Counts a new stream in and returns its first credit. */
  admit(stream: StreamState, now: number): number {
    this.streams += 1;
    const { minWindowBytes, initialWindowBytes } = this.config;
    stream.window = Math.max(minWindowBytes, Math.min(initialWindowBytes, Math.floor(this.free / 8)));
    stream.epoch = now;
    stream.granted = stream.window;
    this.committed += stream.window;
    return stream.window;
  }

  /** A stream was closed: what it held or could still receive needs no memory any more. */
  forget(stream: StreamState): void {
    if (stream.window === 0) return;
    this.streams -= 1;
    this.committed -= stream.granted + stream.held;
    stream.granted = 0;
    stream.held = 0;
    stream.window = 0;
  }

  /** The peer has finished: it will use no more of its credit. What is held stays counted. */
  revoke(stream: StreamState): void {
    this.committed -= stream.granted;
    stream.granted = 0;
  }

  /** Call before any of it is stored; false if it is more than the stream's credit. */
  receive(stream: StreamState, bytes: number): boolean {
    if (bytes > stream.granted) return false;
    stream.granted -= bytes;
    stream.held += bytes;
    return true;
  }

  consume(stream: StreamState, bytes: number, now: number): void {
    const used = Math.min(bytes, stream.held);
    stream.held -= used;
    this.committed -= used;
    stream.consumedInEpoch += used;
    if (stream.consumedInEpoch * 2 >= stream.window) this.adjust(stream, now);
  }

  /** Only for a quarter of the window, so that few frames are needed, and only while more may come. */
  isCreditDue(stream: StreamState): boolean {
    if (stream.finishReceived || stream.phase === 'closed' || stream.window === 0) return false;
    return this.deficit(stream) * 4 >= stream.window;
  }

  /**
   * Counts and returns the credit to send now; 0 if none is due, or if the budget has too little. Then the peer still
   * has credit or we still hold bytes of the stream, so the next consumption asks again: nothing stalls.
   */
  grant(stream: StreamState): number {
    if (!this.isCreditDue(stream)) return 0;
    const reserved = this.config.minWindowBytes - stream.granted - stream.held;
    const credit = Math.min(this.deficit(stream), Math.max(this.free, reserved, 0));
    // Tiny parts of a short budget would cost a frame each, and peers count them as no-op frames.
    if (credit * 4 < this.config.minWindowBytes) return 0;
    stream.granted += credit;
    this.committed += credit;
    return credit;
  }

  private get free(): number {
    return Math.max(0, this.config.sessionWindowBytes - this.committed);
  }

  private deficit(stream: StreamState): number {
    return stream.window - stream.granted - stream.held;
  }

  private adjust(stream: StreamState, now: number): void {
    const { minWindowBytes, maxWindowBytes, sessionWindowBytes } = this.config;
    const short = this.free < sessionWindowBytes / 8;
    const fairShare = Math.max(minWindowBytes, Math.floor(sessionWindowBytes / Math.max(1, this.streams)));
    if (short) {
      if (stream.window > fairShare) stream.window = Math.max(fairShare, Math.floor(stream.window / 2));
    } else if (now - stream.epoch <= Math.max(MIN_EPOCH_MS, 2 * this.roundTripMs)) {
      const wider = Math.min(maxWindowBytes, stream.window * 2, stream.window + Math.floor(this.free / 4));
      stream.window = Math.max(stream.window, wider);
    }
    stream.epoch = now;
    stream.consumedInEpoch = 0;
  }
}
