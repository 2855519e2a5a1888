/**
 * Writes what one end has to send into records: control frames in order, then pongs, pings and credit, then DATA of
 * one stream after the other, quiet ones first (docs/protocol.md §9). Pongs, pings and credit are state, not a queue,
 * so a peer that does not read cannot make a queue grow. Pure.
 */
import type { WireFaultName } from '../errors.ts';
import type { Piece } from '../memory/pieces.ts';
import { RecordEncoder } from '../protocol/frame-encoder.ts';
import { FRAME_HEADER_BYTES } from '../protocol/frames.ts';
import type { OpenRequest } from '../protocol/services.ts';
import type { Target } from '../protocol/target.ts';
import type { MuxConfig } from './config.ts';
import { LazySet } from './lazy-collections.ts';
import { ALL_LINKS, ALL_OPENS, ALL_RELAYS, LITTLE_BYTES, WHOLE_SESSION } from './links/record-order.ts';
import type { Liveness } from './liveness.ts';
import type { ReceiveWindows } from './receive-windows.ts';
import { LEAST_TURN, type Scheduler } from './scheduler.ts';
import type { StreamState } from './stream-state.ts';

export type ControlFrame =
  | { readonly type: 'hello'; readonly maxStreams: number; readonly features: number }
  | { readonly type: 'open'; readonly stream: number; readonly credit: number; readonly request: OpenRequest }
  | {
      readonly type: 'opened';
      readonly stream: number;
      readonly credit: number;
      readonly bound?: Target | undefined;
    }
  | { readonly type: 'open-failed'; readonly stream: number; readonly fault: WireFaultName }
  | { readonly type: 'reset'; readonly stream: number; readonly fault: WireFaultName }
  | { readonly type: 'go-away'; readonly fault: WireFaultName; readonly lastStream: number }
  | { readonly type: 'links'; readonly wanted: number; readonly maxBytes: number }
  /** Of `encodeRelays`. */
  | { readonly type: 'relays'; readonly payload: Uint8Array };

/** The largest control frame: OPEN with a 255-byte name. */
const CONTROL_ROOM = FRAME_HEADER_BYTES + 263;

const RESET_BYTES = FRAME_HEADER_BYTES + 2;

/** With less room a DATA frame waits for the next record, so that no record ends with a tiny frame. */
const MIN_DATA_ROOM = FRAME_HEADER_BYTES + 256;

/** docs/protocol.md §9: of more unanswered pings than these, the oldest get no answer. */
const MAX_PENDING_PONGS = 8;
const NO_PONGS: readonly Uint8Array[] = [];

/** What a record may hold: control frames; or pongs, pings, credit and quiet streams, too; or bulk, too. */
export type WriteScope = 'control' | 'quiet' | 'all';

export interface PolledRecord {
  readonly record: readonly Piece[] | undefined;
  readonly served: ReadonlySet<StreamState>;
}

export class RecordWriter {
  private readonly encoder = new RecordEncoder();
  private control: ControlFrame[] = [];
  private readonly pendingCredit = new LazySet<StreamState>();
  private pendingPongs: readonly Uint8Array[] = NO_PONGS;
  /** What the latest record is about, for `RecordOrder`; undefined while that is not needed. */
  topics: Set<number> | undefined;

  constructor(
    private readonly config: MuxConfig,
    private readonly scheduler: Scheduler<StreamState>,
    private readonly windows: ReceiveWindows,
    private readonly liveness: Liveness,
  ) {}

  push(frame: ControlFrame): void {
    this.control.push(frame);
  }

  /** Drops all that waits and sends only this, after a HELLO that has not gone out yet: it must come first. */
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
    this.pendingPongs = NO_PONGS;
    this.pendingCredit.clear();
  }

  /** While nothing is sent for now. */
  releaseBuffers(): void {
    this.encoder.releaseBuffers();
  }

  pushCredit(stream: StreamState): void {
    this.pendingCredit.add(stream);
  }

  pushPong(opaque: Uint8Array): void {
    this.pendingPongs = [...this.pendingPongs, opaque].slice(-MAX_PENDING_PONGS);
  }

  /** Control frames wait: an OPEN may be among them, which datagrams must not overtake. */
  get hasControl(): boolean {
    return this.control.length > 0;
  }

  get isFlooded(): boolean {
    return this.control.length > this.config.maxControlFrames;
  }

  /** Something may go before bulk: a control frame, a pong, credit, or a quiet stream. */
  get hasUrgent(): boolean {
    const { control, pendingPongs, pendingCredit, scheduler } = this;
    return control.length > 0 || pendingPongs.length > 0 || pendingCredit.size > 0 || scheduler.hasQuiet;
  }

  get isEmpty(): boolean {
    return this.control.length === 0 && this.scheduler.isEmpty;
  }

  /** `maxBytes` limits the record, `frameBytes` the payload of a DATA frame and with it each stream's quantum. */
  poll(now: number, maxBytes: number, frameBytes: number, scope: WriteScope): PolledRecord {
    const served = new Set<StreamState>();
    this.topics?.clear();
    this.writeControl(maxBytes);
    if (scope !== 'control') {
      this.writeHousekeeping(now, maxBytes);
      this.writeData(maxBytes, frameBytes, scope === 'all', served);
    }
    return { record: this.encoder.length > 0 ? this.encoder.take() : undefined, served };
  }

  private writeControl(maxBytes: number): void {
    let sent = 0;
    for (const frame of this.control) {
      if (!this.hasRoomFor(frame, maxBytes)) break;
      this.writeControlFrame(frame);
      sent += 1;
    }
    // A new list where it is empty: one that has grown costs an idle session 150 bytes.
    if (sent > 0) this.control = sent < this.control.length ? this.control.slice(sent) : [];
  }

  /** One that is longer than any record for now has a record of its own. */
  private hasRoomFor(frame: ControlFrame, maxBytes: number): boolean {
    const { length } = this.encoder;
    const isLong = frame.type === 'relays' && frame.payload.length > CONTROL_ROOM - FRAME_HEADER_BYTES;
    return isLong ? length === 0 : length + CONTROL_ROOM <= maxBytes;
  }

  private writeControlFrame(frame: ControlFrame): void {
    const { encoder } = this;
    if (this.topics !== undefined) addTopics(frame, this.topics);
    switch (frame.type) {
      case 'hello':
        return encoder.hello(frame.maxStreams, frame.features);
      case 'open':
        return encoder.open(frame.stream, frame.credit, frame.request);
      case 'opened':
        return encoder.opened(frame.stream, frame.credit, frame.bound);
      case 'open-failed':
        return encoder.openFailed(frame.stream, frame.fault);
      case 'reset':
        return encoder.reset(frame.stream, frame.fault);
      case 'go-away':
        return encoder.goAway(frame.fault, frame.lastStream);
      case 'links':
        return encoder.links(frame.wanted, frame.maxBytes);
      case 'relays':
        return encoder.relays(frame.payload);
    }
  }

  private writeHousekeeping(now: number, maxBytes: number): void {
    const { encoder } = this;
    // HELLO must be the first frame (docs/protocol.md §6): nothing may overtake control frames that did not fit.
    if (this.control.length > 0 || encoder.length + CONTROL_ROOM > maxBytes) return;
    for (const opaque of this.pendingPongs) encoder.pong(opaque);
    this.pendingPongs = NO_PONGS;
    if (this.liveness.isPingPending) encoder.ping(this.liveness.ping(now));
    for (const stream of this.pendingCredit) {
      if (encoder.length + CONTROL_ROOM > maxBytes) return;
      this.pendingCredit.delete(stream);
      const credit = this.windows.grant(stream);
      if (credit <= 0) continue;
      encoder.credit(stream.id, credit);
      this.topics?.add(stream.id);
    }
  }

  private writeData(maxBytes: number, frameBytes: number, withBulk: boolean, served: Set<StreamState>): void {
    if (this.control.length > 0) return;
    const { scheduler } = this;
    let hasLittle = false;
    while (maxBytes - this.encoder.length >= MIN_DATA_ROOM) {
      const stream = withBulk ? scheduler.next(frameBytes) : scheduler.nextQuiet(frameBytes);
      if (!stream) return;
      const room = maxBytes - this.encoder.length - FRAME_HEADER_BYTES;
      const turn = Math.min(stream.queue.bytes, stream.sendCredit, scheduler.turnBytes(stream));
      // The rest of the record stays empty. Otherwise the rest of this turn would begin the next record, cut as much
      // off the next turn, and so on: two frames in each record from then on, each with its own write at the peer.
      if (served.size > 0 && turn - room >= LEAST_TURN * frameBytes) return scheduler.putBack(stream);
      const isLittle = scheduler.isQuietTurn && turn > 0 && turn + FRAME_HEADER_BYTES <= LITTLE_BYTES;
      // With several links a record follows all that its streams have sent: a keystroke would wait for bulk.
      if ((isLittle || hasLittle) && this.topics?.size) return scheduler.putBack(stream);
      hasLittle ||= isLittle;
      scheduler.endTurn(stream, this.writeTurnOf(stream, Math.min(turn, room), maxBytes));
      served.add(stream);
    }
  }

  /** One DATA frame, and FINISH or RESET after the last, else in the next record. Returns the bytes of DATA. */
  private writeTurnOf(stream: StreamState, length: number, maxBytes: number): number {
    const { encoder } = this;
    this.topics?.add(stream.id);
    if (length > 0) {
      stream.sendCredit -= length;
      encoder.dataHeader(stream.id, length);
      stream.queue.take(length, (piece) => encoder.payload(piece));
    }
    if (stream.queue.bytes > 0) return length;
    if (stream.hasPendingFinish && maxBytes - encoder.length >= FRAME_HEADER_BYTES) {
      stream.finishSent = true;
      encoder.finish(stream.id);
    }
    if (stream.hasPendingReset && !stream.hasPendingFinish && maxBytes - encoder.length >= RESET_BYTES) {
      stream.resetSent = true;
      encoder.reset(stream.id, 'target-reset');
    }
    return length;
  }
}

function addTopics(frame: ControlFrame, topics: Set<number>): void {
  switch (frame.type) {
    case 'hello':
    case 'go-away':
      topics.add(WHOLE_SESSION);
      return;
    case 'open':
      topics.add(ALL_OPENS).add(frame.stream);
      // A connection of a listener must not be heard of before the listener.
      if (frame.request.listener !== undefined) topics.add(frame.request.listener);
      return;
    case 'opened':
    case 'open-failed':
    case 'reset':
      topics.add(frame.stream);
      return;
    case 'links':
      topics.add(ALL_LINKS);
      return;
    case 'relays':
      topics.add(ALL_RELAYS);
  }
}
