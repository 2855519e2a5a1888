/**
 * Reads the frame stream (docs/protocol.md §3, §4) from pieces cut anywhere. It holds at most one frame header or one
 * small frame; it checks the header of DATA, and passes the payload on as it comes, without a copy. Pure.
 *
 * Calling order: `decode(piece, handler)` for every piece in order. A handler method may return a fault, which ends
 * decoding: from then on the decoder only returns that fault.
 */
import type { WireFaultName } from '../errors.ts';
import { isOwned, type Piece, release } from '../memory/pieces.ts';
import {
  FIRST_IGNORABLE_TYPE,
  FRAME_HEADER_BYTES,
  FrameType,
  isStreamed,
  MAX_PAYLOAD_BYTES,
  MAX_STREAM_ID,
  shapeOf,
} from './frames.ts';
import { decodeRelays, type ToldRelays } from './relays.ts';
import { type OpenRequest, serviceOfCode } from './services.ts';
import { decodeHost, type Target } from './target.ts';

/** What a handler returns: nothing, or the fault that ends the session. */
export type Violation = WireFaultName | undefined;

export interface FrameHandler {
  /** Bits of `features` that the receiver does not know mean nothing to it. */
  handleHello(version: number, maxStreams: number, features: number): Violation;
  /** Request is undefined where the frame is well formed but has no host or service that this version knows. */
  handleOpen(stream: number, credit: number, request: OpenRequest | undefined): Violation;
  /** @param bound where the peer listens, if it says so */
  handleOpened(stream: number, credit: number, bound: Target | undefined): Violation;
  handleOpenFailed(stream: number, code: number): Violation;
  /** Before any of the payload is looked at. */
  handleDataHeader(stream: number, length: number): Violation;
  /** Takes 1 byte to all of what the last header announced; called until that is complete. */
  handleData(stream: number, bytes: Piece): void;
  handleCredit(stream: number, increment: number): Violation;
  handleFinish(stream: number): Violation;
  handleReset(stream: number, code: number): Violation;
  handlePing(opaque: Uint8Array): Violation;
  handlePong(opaque: Uint8Array): Violation;
  handleGoAway(code: number, lastStream: number): Violation;
  /** How many links the peer could use, and how many bytes it can receive on each; 0: any number. */
  handleLinks(wanted: number, maxBytes: number): Violation;
  /** Undefined: it is none of those that docs/protocol.md §6.1 knows. */
  handleRelays(told: ToldRelays | undefined): Violation;
  /** A frame of an unknown type that may be skipped. */
  handleIgnorable(): Violation;
}

/** All but RELAYS, which is rare. */
const LARGEST_BUFFERED = FRAME_HEADER_BYTES + 1024;
const NO_BYTES = Buffer.alloc(0);

export class FrameDecoder {
  /** A header, or a small frame with its header, so far. Allocated when first needed: most senders cut no frame. */
  private partial = NO_BYTES;
  private partialBytes = 0;
  /** Payload of the current DATA or skipped frame still to come. */
  private remaining = 0;
  private remainingStream = 0;
  private skipping = false;
  private sawHello = false;
  private fault: Violation = undefined;

  /** What was decoded so far ends where a frame ends. */
  get isBetweenFrames(): boolean {
    return this.remaining === 0 && this.partialBytes === 0;
  }

  /** Takes the piece. Returns the fault that ended decoding, if any; frames before it were handled. */
  decode(piece: Piece, handler: FrameHandler): Violation {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    const { length } = bytes;
    const mustRelease = isOwned(piece);
    let at = 0;
    while (this.fault === undefined && at < length) {
      const isPassedOn = this.remaining > 0 && !this.skipping;
      const next = this.step(bytes, at, handler);
      if (mustRelease && !isPassedOn) release(bytes, at, next);
      at = next;
    }
    return this.fault;
  }

  private step(bytes: Buffer, at: number, handler: FrameHandler): number {
    if (this.remaining > 0) return this.passOn(bytes, at, handler);
    if (this.partialBytes > 0 || bytes.length - at < FRAME_HEADER_BYTES) return this.gather(bytes, at, handler);
    return this.readFrame(bytes, at, handler);
  }

  private passOn(bytes: Buffer, at: number, handler: FrameHandler): number {
    const end = Math.min(bytes.length, at + this.remaining);
    this.remaining -= end - at;
    if (!this.skipping) handler.handleData(this.remainingStream, bytes.subarray(at, end));
    return end;
  }

  /** The fast path: a whole header lies in `bytes`. Returns where the next frame, or what is incomplete, begins. */
  private readFrame(bytes: Buffer, at: number, handler: FrameHandler): number {
    const length = this.checkHeader(bytes, at);
    if (this.fault !== undefined) return at;
    const body = at + FRAME_HEADER_BYTES;
    const type = bytes[at] ?? 0;
    if (isStreamed(type, length)) {
      this.beginStreamed(type, bytes.readUInt32BE(at + 4), length, handler);
      return body;
    }
    if (bytes.length - body < length) return this.gather(bytes, at, handler);
    this.deliver(type, bytes.readUInt32BE(at + 4), bytes.subarray(body, body + length), handler);
    return body + length;
  }

  /** The slow path: completes a header, then a small frame, in `partial`. */
  private gather(bytes: Buffer, at: number, handler: FrameHandler): number {
    const next = this.fill(FRAME_HEADER_BYTES, bytes, at);
    if (this.partialBytes < FRAME_HEADER_BYTES) return next;
    const length = this.checkHeader(this.partial, 0);
    if (this.fault !== undefined) return next;
    const type = this.partial[0] ?? 0;
    const stream = this.partial.readUInt32BE(4);
    if (isStreamed(type, length)) {
      this.partialBytes = 0;
      this.beginStreamed(type, stream, length, handler);
      return next;
    }
    const end = this.fill(FRAME_HEADER_BYTES + length, bytes, next);
    if (this.partialBytes < FRAME_HEADER_BYTES + length) return end;
    const { partial } = this;
    this.partialBytes = 0;
    // One that was made for a long frame is not kept.
    if (partial.length > LARGEST_BUFFERED) this.partial = NO_BYTES;
    this.deliver(type, stream, partial.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + length), handler);
    return end;
  }

  private fill(upTo: number, bytes: Buffer, at: number): number {
    if (this.partial.length < upTo) {
      const larger = Buffer.allocUnsafeSlow(Math.max(upTo, LARGEST_BUFFERED));
      this.partial.copy(larger, 0, 0, this.partialBytes);
      this.partial = larger;
    }
    const take = Math.max(0, Math.min(upTo - this.partialBytes, bytes.length - at));
    bytes.copy(this.partial, this.partialBytes, at, at + take);
    this.partialBytes += take;
    return at + take;
  }

  /** Returns the payload's length; sets the fault where type, length or stream are out of range. */
  private checkHeader(bytes: Buffer, at: number): number {
    const type = bytes[at] ?? 0;
    const length = bytes.readUIntBE(at + 1, 3);
    const stream = bytes.readUInt32BE(at + 4);
    const shape = shapeOf(type);
    const fits = shape
      ? length >= shape.minLength && length <= shape.maxLength && stream > 0 === shape.onStream
      : type >= FIRST_IGNORABLE_TYPE && length <= MAX_PAYLOAD_BYTES;
    // 4, or with an address: what is between the two would be a cut one.
    const isCut = type === FrameType.opened && length > 4 && length !== 11 && length !== 23;
    if (!fits || isCut || stream > MAX_STREAM_ID || (type === FrameType.hello) === this.sawHello)
      this.fault = 'bad-frame';
    return length;
  }

  /** §6: HELLO comes first, and once. Set when the frame is complete, because its header may be checked twice. */
  private deliver(type: number, stream: number, body: Buffer, handler: FrameHandler): void {
    this.sawHello = true;
    this.fault = dispatch(type, stream, body, handler);
  }

  private beginStreamed(type: number, stream: number, length: number, handler: FrameHandler): void {
    this.skipping = type !== FrameType.data;
    this.fault = this.skipping ? handler.handleIgnorable() : handler.handleDataHeader(stream, length);
    this.remaining = length;
    this.remainingStream = stream;
  }
}

/** A small frame. `body` is valid only during the call. */
function dispatch(type: number, stream: number, body: Buffer, handler: FrameHandler): Violation {
  switch (type) {
    case FrameType.hello:
      return handler.handleHello(body.readUInt16BE(0), body.readUInt32BE(4), body.readUInt16BE(2));
    case FrameType.open:
      return handler.handleOpen(stream, body.readUInt32BE(0), decodeRequest(body));
    case FrameType.opened:
      return handler.handleOpened(stream, body.readUInt32BE(0), decodeBound(body));
    case FrameType.openFailed:
      return handler.handleOpenFailed(stream, body.readUInt16BE(0));
    case FrameType.credit:
      return handler.handleCredit(stream, body.readUInt32BE(0));
    case FrameType.finish:
      return handler.handleFinish(stream);
    case FrameType.reset:
      return handler.handleReset(stream, body.readUInt16BE(0));
    case FrameType.ping:
      return handler.handlePing(Uint8Array.from(body));
    case FrameType.pong:
      return handler.handlePong(Uint8Array.from(body));
    case FrameType.goAway:
      return handler.handleGoAway(body.readUInt16BE(0), body.readUInt32BE(2));
    case FrameType.links:
      return handler.handleLinks(body[0] ?? 0, body.readUInt32BE(1));
    case FrameType.relays:
      return handler.handleRelays(stream === 0 ? decodeRelays(body) : undefined);
    default:
      return 'bad-frame';
  }
}

const SERVICE_OFFSET = 4;

/** Of a listener's connection, which is the first thing in `host`. */
const LISTENER_BYTES = 4;

function decodeRequest(body: Buffer): OpenRequest | undefined {
  const service = serviceOfCode(body[SERVICE_OFFSET] ?? 0);
  if (service === undefined) return undefined;
  const isAccepted = service === 'accepted';
  if (isAccepted && body.length < 8 + LISTENER_BYTES) return undefined;
  const host = body.subarray(isAccepted ? 8 + LISTENER_BYTES : 8);
  const target = decodeHost(body[SERVICE_OFFSET + 1] ?? 0, host, body.readUInt16BE(6));
  if (target === undefined) return undefined;
  return isAccepted ? { service, target, listener: body.readUInt32BE(8) } : { service, target };
}

function decodeBound(body: Buffer): Target | undefined {
  return body.length < 7 ? undefined : decodeHost(body[4] ?? 0, body.subarray(7), body.readUInt16BE(5));
}
