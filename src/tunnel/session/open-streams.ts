/** The open streams of one session: passes on what they write and what the session receives for them. */
import type { Clock } from '../../clock.ts';
import type { WireFaultName } from '../../errors.ts';
import type { Piece } from '../../memory/pieces.ts';
import type { MuxEvent } from '../../mux/events.ts';
import { LazyMap } from '../../mux/lazy-collections.ts';
import type { MuxSession } from '../../mux/session.ts';
import { MuxStream, type StreamOwner } from '../stream/mux-stream.ts';
import type { Target } from '../stream/stream.ts';

/** What the streams of a session, open or not, need of its driver. */
export interface StreamsOwner {
  readonly clock: Clock;
  /** A link carries the session. */
  readonly isAttached: boolean;
  /** The session may have something to send at the end of this turn. */
  scheduleFlush(): void;
  /** The ids of streams are used up. */
  handleOutOfIds(): void;
}

/** Payload of streams, bytes. */
export interface Transferred {
  readonly sent: number;
  readonly received: number;
}

export class OpenStreams implements StreamOwner {
  /** Those that the end of the session has reset. */
  abortedCount = 0;
  private readonly streams = new LazyMap<number, MuxStream>();
  /** Of streams that have ended, bytes. */
  private endedSent = 0;
  private endedReceived = 0;

  constructor(
    private readonly mux: MuxSession,
    private readonly owner: StreamsOwner,
  ) {}

  get size(): number {
    return this.streams.size;
  }

  /** The oldest first. */
  get all(): Iterable<MuxStream> {
    return this.streams.values();
  }

  /** Of all streams so far, bytes. */
  transferred(): Transferred {
    let sent = this.endedSent;
    let received = this.endedReceived;
    for (const { sentBytes, receivedBytes } of this.streams.values()) {
      sent += sentBytes;
      received += receivedBytes;
    }
    return { sent, received };
  }

  add(id: number, target: Target): MuxStream {
    const stream = new MuxStream(this, id, target);
    this.streams.set(id, stream);
    return stream;
  }

  handleEvent(event: Extract<MuxEvent, { type: 'data' | 'writable' | 'finish' | 'finish-sent' | 'reset' }>): void {
    const stream = this.streams.get(event.stream);
    if (stream === undefined) return;
    switch (event.type) {
      case 'data':
        return stream.handleData(event.bytes);
      case 'writable':
        return stream.handleWritable();
      case 'finish':
        return stream.handleFinish();
      case 'finish-sent':
        return stream.handleFinishSent();
      case 'reset':
        return this.handleReset(stream, event.fault);
    }
  }

  private handleReset(stream: MuxStream, fault: WireFaultName): void {
    // It stays until its reader has taken what came before: each byte is consumed.
    if (fault === 'target-reset' && !this.mux.isOver) return stream.handleLateReset(fault);
    if (this.mux.isOver) this.abortedCount += 1;
    this.remove(stream);
    stream.handleReset(fault);
  }

  private remove({ id, sentBytes, receivedBytes }: MuxStream): void {
    this.streams.delete(id);
    this.endedSent += sentBytes;
    this.endedReceived += receivedBytes;
  }

  // ── StreamOwner ────────────────────────────────────────────────────────────────────────────────────────────────────

  get clock(): Clock {
    return this.owner.clock;
  }

  get isAttached(): boolean {
    return this.owner.isAttached;
  }

  write(id: number, bytes: Piece): boolean {
    const more = this.mux.write(id, bytes);
    this.owner.scheduleFlush();
    return more;
  }

  finish(id: number): void {
    this.mux.finish(id);
    this.owner.scheduleFlush();
  }

  consume(id: number, bytes: number): void {
    this.mux.consume(id, bytes, this.owner.clock.now());
    this.owner.scheduleFlush();
  }

  forget(id: number, fault: WireFaultName): void {
    const stream = this.streams.get(id);
    if (stream === undefined) return;
    this.remove(stream);
    this.mux.reset(id, fault, this.owner.clock.now());
    this.owner.scheduleFlush();
  }
}
