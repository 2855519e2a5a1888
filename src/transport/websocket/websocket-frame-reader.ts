/**
 * Incoming data frames, RFC 6455 §5.2: takes whole binary messages out of what a socket has read, as the pieces of
 * memory in which they lie, and passes all other frames on to `ws` unchanged. `ws` copies a message that lies in two
 * reads, and these are most messages where records are as large as reads (docs/adr/0003-websocket-framing.md). It
 * validates nothing: everything but a plain message of one frame (another opcode, fragments, a length or mask that
 * breaks the rules) goes to `ws`. `ws` rejects a moment later, and nothing after that frame may have been delivered
 * then. So what follows goes to `ws`, too, until `settle` is called. Pure.
 */
import { type Lent, lend, own, type Piece, release } from '../../memory/pieces.ts';
import { copied, copiedIfSmall } from '../../memory/small-pieces.ts';
import { SOCKET_LIMITS } from './websocket-limits.ts';
import { applyMask } from './websocket-mask.ts';

export interface FrameSink {
  /** The pieces of `held` belong to the sink; `last`, if there is one, may be used during the call only. */
  handleMessage(held: Piece[], last?: Lent): void;
  /** Bytes of other frames, headers included, in order with the messages. The sink may keep them. */
  handleOther(bytes: Uint8Array): void;
  /** A message is in too many pieces. The last call. */
  handleFault(text: string): void;
}

const FIN_BIT = 0x80;
const OPCODE_BITS = 0x0f;
const FIN_BINARY = 0x82;
const CLOSE = 0x08;
const FIN_PING = 0x89;
const FIN_PONG = 0x8a;
/** Opcodes from here on are of control frames, which may be between fragments (§5.4). */
const FIRST_CONTROL = 0x08;
const MASK_BIT = 0x80;
const LENGTH_BITS = 0x7f;
/** Values of LENGTH_BITS: two bytes of length follow, or eight. */
const TWO_BYTES = 126;
const EIGHT_BYTES = 127;
const KEY_BYTES = 4;
const MAX_HEADER_BYTES = 14;
const { maxBufferedChunks: MAX_PIECES } = SOCKET_LIMITS;
/** A message that is being assembled takes at most this many times the memory of what has arrived of it. */
const ROOM_FACTOR = 8;

/** `heartbeat`: a PING or PONG, which `ws` has no reason to reject. All but our `message` go to `ws`. */
type FrameKind = 'message' | 'heartbeat' | 'close' | 'other';

export class FrameReader {
  /** Of a frame that is not an ordinary message, or whose header came in parts; undefined between headers. */
  private header: Uint8Array | undefined;
  /** Bytes of the header that have arrived; 0 while a payload is being read. */
  private headerLength = 0;
  /** Bytes of the current payload that have not arrived. */
  private left = 0;
  /** Of the current frame. */
  private kind: FrameKind = 'message';
  /** The key of its mask, to be removed; undefined if there is none, or one of zeros. */
  private key: Uint8Array | undefined;
  private held: Piece[] = [];
  private heldBytes = 0;
  /** Memory for the whole current message, if it is being assembled: the only piece of `held`, not yet full. */
  private room: Piece | undefined;
  /** A message in fragments is being read, and belongs to `ws`. */
  private inFragments = false;
  private unsettled = false;
  /** The CLOSE has arrived: what follows has no meaning (§5.5.1), and `ws` reads no more. Or there was a fault. */
  private ended = false;

  /** @param masked whether the peer is a client, which must mask */
  constructor(
    private readonly masked: boolean,
    private readonly sink: FrameSink,
  ) {}

  /** What was read next. The reader takes it; masks are removed in place. */
  take(chunk: Piece): void {
    const { length } = chunk;
    let at = 0;
    while (at < length && !this.ended) {
      const isPayload = this.left > 0;
      const isOurs = isPayload && this.kind === 'message';
      const next = isPayload ? this.readPayload(chunk, at, undefined) : this.readHeader(chunk, at);
      if (!isOurs) release(chunk, at, next);
      at = next;
    }
  }

  /** The same, but the memory remains the caller's, who uses it again when this returns. */
  readLent(chunk: Lent): void {
    const { length } = chunk;
    let at = 0;
    while (at < length && !this.ended) {
      at = this.left > 0 ? this.readPayload(chunk, at, chunk) : this.readHeader(chunk, at);
    }
  }

  /** `ws` may still reject what it was given. */
  get isUnsettled(): boolean {
    return this.unsettled;
  }

  /** It has not rejected it: two ticks have passed. */
  settle(): void {
    this.unsettled = false;
  }

  private readHeader(chunk: Uint8Array, at: number): number {
    const end = this.headerLength === 0 ? this.endOfOrdinary(chunk, at) : 0;
    if (end === 0) return this.gatherHeader(chunk, at);
    this.kind = 'message';
    this.left = payloadBytes(chunk, at);
    this.key = this.masked ? keyIn(chunk, end) : undefined;
    return end;
  }

  /** Where the header of an ordinary message ends, if it lies in the chunk as a whole; else 0. */
  private endOfOrdinary(chunk: Uint8Array, at: number): number {
    if (chunk.length - at < 2 || !this.isOrdinary(chunk[at] ?? 0, chunk[at + 1] ?? 0)) return 0;
    const end = at + headerBytes(chunk, at);
    return end <= chunk.length && isShortest(chunk, at) ? end : 0;
  }

  /** A message of one frame, as far as its first two bytes tell. */
  private isOrdinary(first: number, second: number): boolean {
    const isRightlyMasked = ((second & MASK_BIT) !== 0) === this.masked;
    const length = second & LENGTH_BITS;
    const isPlain = first === FIN_BINARY && isRightlyMasked && length > 0 && length < EIGHT_BYTES;
    return isPlain && !this.inFragments && !this.unsettled;
  }

  /** What is not ours is passed on at once: `ws` rejects some frames by their first bytes, and then reads no more. */
  private gatherHeader(chunk: Uint8Array, at: number): number {
    this.header ??= new Uint8Array(MAX_HEADER_BYTES);
    const { header } = this;
    let next = at;
    let isWhole = false;
    while (!isWhole && next < chunk.length) {
      header[this.headerLength] = chunk[next] ?? 0;
      this.headerLength += 1;
      next += 1;
      if (this.headerLength === 2) this.classify(header);
      else if (this.headerLength > 2 && this.kind !== 'message')
        this.passOn(header.slice(this.headerLength - 1, this.headerLength));
      isWhole = this.headerLength >= 2 && this.headerLength === headerBytes(header, 0);
    }
    if (isWhole) this.beginPayload(header);
    return next;
  }

  /** By the first two bytes. */
  private classify(header: Uint8Array): void {
    const [first = 0, second = 0] = header;
    if (this.isOrdinary(first, second)) {
      this.kind = 'message';
      return;
    }
    const isRightlyMasked = ((second & MASK_BIT) !== 0) === this.masked;
    const length = second & LENGTH_BITS;
    const opcode = first & OPCODE_BITS;
    const isHeartbeat = (first === FIN_PING || first === FIN_PONG) && isRightlyMasked && length < TWO_BYTES;
    this.kind = isHeartbeat ? 'heartbeat' : opcode === CLOSE ? 'close' : 'other';
    if (opcode < FIRST_CONTROL) this.inFragments = (first & FIN_BIT) === 0;
    this.passOn(header.slice(0, 2));
  }

  private beginPayload(header: Uint8Array): void {
    const { headerLength } = this;
    this.header = undefined;
    this.headerLength = 0;
    this.left = payloadBytes(header, 0);
    if (this.left === 0) this.ended = this.kind === 'close';
    this.key = undefined;
    if (this.kind !== 'message') return;
    if (isShortest(header, 0)) {
      if (this.masked) this.key = keyIn(header, headerLength);
      return;
    }
    this.kind = 'other';
    this.passOn(header.slice(0, headerLength));
  }

  private passOn(bytes: Uint8Array): void {
    if (this.kind !== 'heartbeat') this.unsettled = true;
    this.sink.handleOther(bytes);
  }

  /** @param lender the chunk, if its memory remains the caller's */
  private readPayload(chunk: Uint8Array, at: number, lender: Lent | undefined): number {
    const end = Math.min(chunk.length, at + this.left);
    const piece = chunk.subarray(at, end);
    this.left -= end - at;
    if (this.left === 0) this.ended = this.kind === 'close';
    if (this.key !== undefined) applyMask(piece, this.key, this.heldBytes);
    // A copy: `ws` keeps fragments until the last has arrived, and one of a byte would hold all that was read with it.
    if (this.kind !== 'message') this.passOn(copied(piece));
    else if (this.room !== undefined) this.fill(this.room, piece, lender !== undefined);
    else if (this.left > 0 && lender !== undefined) this.holdLent(piece);
    else if (this.left > 0) this.hold(piece);
    else if (lender === undefined) this.deliver(piece, undefined);
    else this.deliver(undefined, lend(piece));
    return end;
  }

  /**
   * Lent pieces are assembled at once, in memory for the whole message: separate copies would have to be joined later.
   * A peer that has announced a message must send some of it first, or a byte would cost 64 KiB.
   */
  private holdLent(piece: Uint8Array): void {
    const total = this.heldBytes + piece.length + this.left;
    if ((this.heldBytes + piece.length) * ROOM_FACTOR < total) return this.hold(own(copied(piece)));
    const room = own(Buffer.allocUnsafeSlow(total));
    let end = 0;
    for (const held of this.held) {
      room.set(held, end);
      end += held.length;
      release(held);
    }
    this.held = [room];
    this.room = room;
    this.fill(room, piece, true);
  }

  private fill(room: Piece, piece: Piece, isLent: boolean): void {
    room.set(piece, this.heldBytes);
    this.heldBytes += piece.length;
    if (!isLent) release(piece);
    if (this.left === 0) this.deliver(undefined, undefined);
  }

  private hold(piece: Piece): void {
    this.heldBytes += piece.length;
    this.held.push(copiedIfSmall(piece));
    if (this.held.length <= MAX_PIECES) return;
    this.held = [];
    this.kind = 'other';
    this.ended = true;
    this.sink.handleFault(`a message in more than ${MAX_PIECES} pieces`);
  }

  private deliver(last: Piece | undefined, lent: Lent | undefined): void {
    const pieces = this.held;
    this.held = [];
    this.heldBytes = 0;
    this.room = undefined;
    if (last !== undefined) pieces.push(last);
    this.sink.handleMessage(pieces, lent);
  }
}

function headerBytes(bytes: Uint8Array, at: number): number {
  const second = bytes[at + 1] ?? 0;
  const length = second & LENGTH_BITS;
  const lengthBytes = length < TWO_BYTES ? 0 : length === TWO_BYTES ? 2 : 8;
  return 2 + lengthBytes + ((second & MASK_BIT) === 0 ? 0 : KEY_BYTES);
}

/** Not exact beyond 2^53, which `ws` rejects. */
function payloadBytes(bytes: Uint8Array, at: number): number {
  const length = (bytes[at + 1] ?? 0) & LENGTH_BITS;
  if (length < TWO_BYTES) return length;
  let payload = 0;
  for (let i = 2; i < (length === TWO_BYTES ? 4 : 10); i++) payload = payload * 256 + (bytes[at + i] ?? 0);
  return payload;
}

/** §5.2 requires the shortest form of a length. Called only for forms of up to two bytes. */
function isShortest(bytes: Uint8Array, at: number): boolean {
  return payloadBytes(bytes, at) >= TWO_BYTES || ((bytes[at + 1] ?? 0) & LENGTH_BITS) < TWO_BYTES;
}

/** A copy of the key, which is the end of the header. Undefined for zeros. */
function keyIn(bytes: Uint8Array, headerEnd: number): Uint8Array | undefined {
  const at = headerEnd - KEY_BYTES;
  for (let i = at; i < headerEnd; i++) {
    if (bytes[i] !== 0)
      return Uint8Array.of(bytes[at] ?? 0, bytes[at + 1] ?? 0, bytes[at + 2] ?? 0, bytes[at + 3] ?? 0);
  }
  return undefined;
}
