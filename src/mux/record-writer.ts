/**
 * What one end has to send, put into records: control frames in order, then pongs, credit and pings, then DATA of one
 * stream after the other, quiet ones first (docs/protocol.md §9). What can be worked out when it is sent is kept as
 * state, not queued, so a peer that does not read cannot make the queue grow. Pure.
 */
import type { WireFaultName } from '../errors.ts';
import type { Piece } from '../memory/pieces.ts';
import { RecordEncoder } from '../protocol/frame-encoder.ts';
import { FRAME_HEADER_BYTES } from '../protocol/frames.ts';
import type { Target } from '../protocol/target.ts';
import type { MuxConfig } from './config.ts';
import { LazySet } from './lazy-collections.ts';
import type { Liveness } from './liveness.ts';
import type { ReceiveWindows } from './receive-windows.ts';
import { LEAST_TURN, type Scheduler } from './scheduler.ts';
import type { StreamState } from './stream-state.ts';

export type ControlFrame =
  | { readonly type: 'hello'; readonly maxStreams: number }
  | { readonly type: 'open'; readonly stream: number; readonly credit: number; readonly target: Target }
  | { readonly type: 'opened'; readonly stream: number; readonly credit: number }
  | { readonly type: 'open-failed'; readonly stream: number; readonly fault: WireFaultName }
  | { readonly type: 'reset'; readonly stream: number; readonly fault: WireFaultName }
  | { readonly type: 'go-away'; readonly fault: WireFaultName; readonly lastStream: number };

/** The largest control frame: OPEN with a 255-byte name. */
const CONTROL_ROOM = FRAME_HEADER_BYTES + 263;

const RESET_BYTES = FRAME_HEADER_BYTES + 2;

/** Below this a DATA frame waits for the next record, so that the tail of a record is not a sliver. */
const MIN_DATA_ROOM = FRAME_HEADER_BYTES + 256;

/** docs/protocol.md §9: more than this many unanswered pings, and the oldest go without an answer. */
const MAX_PONGS = 8;

/** What a record may hold: frames that end a session; those, housekeeping and quiet streams; or bulk too. */
export type WriteScope = 'control' | 'quiet' | 'all';

export interface PolledRecord {
  readonly record: readonly Piece[] | undefined;
  /** Streams of which something went out. */
  readonly served: ReadonlySet<StreamState>;
}

export class RecordWriter {
  private readonly config: MuxConfig;
  private readonly scheduler: Scheduler;
  private readonly windows: ReceiveWindows;
  private readonly liveness: Liveness;
  private readonly encoder = new RecordEncoder();
  private control: ControlFrame[] = [];
  private readonly creditDebts = new LazySet<StreamState>();
  private pongs: Uint8Array[] = [];

  constructor(config: MuxConfig, scheduler: Scheduler, windows: ReceiveWindows, liveness: Liveness) {
    this.config = config;
    this.scheduler = scheduler;
    this.windows = windows;
    this.liveness = liveness;
  }

  push(frame: ControlFrame): void {
    this.control.push(frame);
  }

  /**
   * Drops all that waits and says only this, behind a HELLO that has not gone out yet: nothing is understood before
   * that.
   */
  replaceAll(frame: ControlFrame): void {
    const unsentHello = this.control.filter(({ type }) => type === 'hello');
    this.clear();
    this.control = [...unsentHello, frame];
  }

  /** Takes back an OPEN that has not gone out; false if it has. */
  retractOpen(stream: number): boolean {
    const at = this.control.findIndex((frame) => frame.type === 'open' && frame.stream === stream);
    if (at === -1) return false;
    this.control.splice(at, 1);
    return true;
  }

  clear(): void {
    this.control = [];
    this.pongs = [];
    this.creditDebts.clear();
  }

  /** Nothing was sent for a while, or cannot be. */
  rest(): void {
    this.encoder.rest();
  }

  owesCredit(stream: StreamState): void {
    this.creditDebts.add(stream);
  }

  owesPong(opaque: Uint8Array): void {
    this.pongs.push(opaque);
    if (this.pongs.length > MAX_PONGS) this.pongs.shift();
  }

  get isFlooded(): boolean {
    return this.control.length > this.config.maxControlFrames;
  }

  /** Something waits that need not wait for bulk: a control frame, an answer to a ping, credit, a quiet stream. */
  get hasUrgent(): boolean {
    return this.control.length > 0 || this.pongs.length > 0 || this.creditDebts.size > 0 || this.scheduler.hasQuiet;
  }

  get isEmpty(): boolean {
    return this.control.length === 0 && this.scheduler.isEmpty;
  }

  /**
   * `maxBytes` bounds the record, `frameBytes` the payload of a DATA frame, and with it what each stream has in a
   * round.
   */
  poll(now: number, maxBytes: number, frameBytes: number, share: WriteScope): PolledRecord {
    const served = new Set<StreamState>();
    this.writeControl(maxBytes);
    if (share !== 'control') {
      this.writeHousekeeping(now, maxBytes);
      this.writeData(maxBytes, frameBytes, share === 'all', served);
    }
    return { record: this.encoder.length > 0 ? this.encoder.take() : undefined, served };
  }

  private writeControl(maxBytes: number): void {
    let sent = 0;
    for (const frame of this.control) {
      if (this.encoder.length + CONTROL_ROOM > maxBytes) break;
      this.writeControlFrame(frame);
      sent += 1;
    }
    if (sent > 0) this.control.splice(0, sent);
  }

  private writeControlFrame(frame: ControlFrame): void {
    const { encoder } = this;
    switch (frame.type) {
      case 'hello':
        return encoder.hello(frame.maxStreams);
      case 'open':
        return encoder.open(frame.stream, frame.credit, frame.target);
      case 'opened':
        return encoder.opened(frame.stream, frame.credit);
      case 'open-failed':
        return encoder.openFailed(frame.stream, frame.fault);
      case 'reset':
        return encoder.reset(frame.stream, frame.fault);
      case 'go-away':
        return encoder.goAway(frame.fault, frame.lastStream);
    }
  }

  private writeHousekeeping(now: number, maxBytes: number): void {
    const { encoder } = this;
    // HELLO must be the first frame (docs/protocol.md §6): nothing may overtake control frames that did not fit.
    if (this.control.length > 0 || encoder.length + CONTROL_ROOM > maxBytes) return;
    for (const opaque of this.pongs) encoder.pong(opaque);
    this.pongs = [];
    if (this.liveness.isPingOwed) encoder.ping(this.liveness.ping(now));
    for (const stream of this.creditDebts) {
      if (encoder.length + CONTROL_ROOM > maxBytes) return;
      this.creditDebts.delete(stream);
      const credit = this.windows.grant(stream);
      if (credit > 0) encoder.credit(stream.id, credit);
    }
  }

  private writeData(maxBytes: number, frameBytes: number, withBulk: boolean, served: Set<StreamState>): void {
    if (this.control.length > 0) return;
    const { scheduler } = this;
    while (maxBytes - this.encoder.length >= MIN_DATA_ROOM) {
      const stream = withBulk ? scheduler.next(frameBytes) : scheduler.nextQuiet(frameBytes);
      if (!stream) return;
      const room = maxBytes - this.encoder.length - FRAME_HEADER_BYTES;
      const turn = Math.min(stream.queue.bytes, stream.sendCredit, scheduler.turnBytes(stream));
      // The rest of the record stays empty: a piece cut off that is a turn of its own would open the next record, cut
      // as much off the turn behind it, and so on, two frames a record for ever, each with its own write at the other
      // end.
      if (served.size > 0 && turn - room >= LEAST_TURN * frameBytes) return scheduler.putBack(stream);
      scheduler.endTurn(stream, this.writeTurnOf(stream, Math.min(turn, room), maxBytes));
      served.add(stream);
    }
  }

  /**
   * One DATA frame, and FINISH or RESET behind the last one; the number of its bytes. Without room for them the stream
   * stays ready for the next record.
   */
  private writeTurnOf(stream: StreamState, length: number, maxBytes: number): number {
    const { encoder } = this;
    if (length > 0) {
      stream.sendCredit -= length;
      encoder.dataHeader(stream.id, length);
      stream.queue.take(length, (piece) => encoder.payload(piece));
    }
    if (stream.queue.bytes > 0) return length;
    if (stream.owesFinish && maxBytes - encoder.length >= FRAME_HEADER_BYTES) {
      stream.finishSent = true;
      encoder.finish(stream.id);
    }
    if (stream.owesReset && !stream.owesFinish && maxBytes - encoder.length >= RESET_BYTES) {
      stream.resetSent = true;
      encoder.reset(stream.id, 'target-reset');
    }
    return length;
  }
}
