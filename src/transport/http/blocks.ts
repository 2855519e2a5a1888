/** The blocks of which each direction of an HTTP link consists (docs/protocol.md §1.4). Pure. */
import { type Lent, lend, own, type Piece, release, takeLentBack } from '../../memory/pieces.ts';
import { MAX_MESSAGE_BYTES, SIZE_BUCKETS } from './http-limits.ts';

export const BLOCK_HEADER_BYTES = 4;
const CLOSE_BYTES = 2;
/** Types from here on are skipped by a receiver that does not know them. */
const FIRST_SKIPPED = 0x80;

export type BlockType = 'padding' | 'message' | 'close';

const TYPES: readonly BlockType[] = ['padding', 'message', 'close'];

/** @param length of the content, below 2^24 */
export function writeBlockHeader(to: Uint8Array, type: BlockType, length: number): void {
  to[0] = TYPES.indexOf(type);
  to[1] = length >>> 16;
  to[2] = (length >>> 8) & 0xff;
  to[3] = length & 0xff;
}

/** How many bytes of padding, its header included, give a body of `bytes` one of the usual sizes. */
export function paddingFor(bytes: number): number {
  const fits = (bucket: number): boolean => bucket === bytes || bucket >= bytes + BLOCK_HEADER_BYTES;
  return (SIZE_BUCKETS.find(fits) ?? bytes) - bytes;
}

export interface BlockSink {
  /** It keeps nothing of the next message: `readMessage` is called in place of `handleMessage`. May change. */
  readonly readsOnly: boolean;
  /** A whole message, which the sink owns. */
  handleMessage(message: Piece): void;
  /** A whole message, whose memory is used again after the call. */
  readMessage(message: Lent): void;
  handleClose(status: number): void;
}

/** A message that comes in parts gets memory for all of it when an eighth has come, so a byte does not cost 64 KiB. */
const ROOM_FACTOR = 8;

/** Memory for messages that come in parts and are only read: for all links, as unused memory costs the collector. */
const MAX_SPARE_ROOMS = 8;
const spareRooms: Uint8Array[] = [];

/** Takes blocks out of what has arrived, in whatever parts. */
export class BlockReader {
  private readonly header = new Uint8Array(BLOCK_HEADER_BYTES);
  private headerBytes = 0;
  private type: BlockType = 'padding';
  /** Bytes of the current content that have not arrived. */
  private left = 0;
  /** Of a message or Close that came in parts. */
  private room: Piece | undefined;
  private filled = 0;
  private ended = false;

  constructor(private readonly sink: BlockSink) {}

  /** Takes the chunk. Returns how the sender has broken the protocol, if so: then nothing more may be read. */
  read(chunk: Piece): string | undefined {
    let at = 0;
    while (at < chunk.length && !this.ended) {
      if (this.left > 0) at = this.readContent(chunk, at);
      else {
        at = this.readHeader(chunk, at);
        const fault = this.headerBytes === BLOCK_HEADER_BYTES ? this.begin() : undefined;
        if (fault !== undefined) return fault;
      }
    }
    return undefined;
  }

  private readHeader(chunk: Piece, at: number): number {
    const end = Math.min(chunk.length, at + BLOCK_HEADER_BYTES - this.headerBytes);
    for (let i = at; i < end; i++) this.header[this.headerBytes++] = chunk[i] ?? 0;
    release(chunk, at, end);
    return end;
  }

  private begin(): string | undefined {
    const [type = 0, high = 0, middle = 0, low = 0] = this.header;
    this.headerBytes = 0;
    const length = (high << 16) | (middle << 8) | low;
    const known = TYPES[type];
    if (known === undefined && type < FIRST_SKIPPED) return `the peer sent a block of type ${type}`;
    this.type = known ?? 'padding';
    if (this.type === 'message' && length > MAX_MESSAGE_BYTES) return 'the peer sent a message that is too long';
    if (this.type === 'close' && length !== CLOSE_BYTES) return 'the peer sent a malformed Close';
    this.left = length;
    if (length === 0 && this.type === 'message') this.sink.handleMessage(new Uint8Array(0));
    return undefined;
  }

  private readContent(chunk: Piece, at: number): number {
    const end = Math.min(chunk.length, at + this.left);
    this.left -= end - at;
    const part = chunk.subarray(at, end);
    if (this.type === 'padding') release(part);
    else if (this.filled === 0 && this.left === 0) this.deliver(part);
    else this.gather(part);
    return end;
  }

  private gather(part: Piece): void {
    const needed = this.filled + part.length;
    const total = needed + this.left;
    if (this.room === undefined || this.room.length < needed) {
      const room = needed * ROOM_FACTOR < total ? new Uint8Array(needed * 2) : this.wholeRoom(total);
      if (this.room !== undefined) room.set(this.room.subarray(0, this.filled));
      this.room = room;
    }
    this.room.set(part, this.filled);
    release(part);
    this.filled = needed;
    if (this.left > 0) return;
    const { room } = this;
    this.room = undefined;
    this.filled = 0;
    if (room.length !== MAX_MESSAGE_BYTES) this.deliver(own(room.subarray(0, needed)));
    else this.deliverLent(room, needed);
  }

  private wholeRoom(bytes: number): Uint8Array {
    const isSpare = this.type === 'message' && this.sink.readsOnly;
    return isSpare ? (spareRooms.pop() ?? new Uint8Array(MAX_MESSAGE_BYTES)) : new Uint8Array(bytes);
  }

  private deliverLent(room: Uint8Array, bytes: number): void {
    // It may keep messages by now.
    if (this.type !== 'message' || !this.sink.readsOnly) return this.deliver(room.slice(0, bytes));
    const whole = lend(room.subarray(0, bytes));
    this.sink.readMessage(whole);
    takeLentBack(whole);
    if (spareRooms.length < MAX_SPARE_ROOMS) spareRooms.push(room);
  }

  private deliver(content: Piece): void {
    if (this.type === 'message') return this.sink.handleMessage(content);
    this.ended = true;
    const status = ((content[0] ?? 0) << 8) | (content[1] ?? 0);
    release(content);
    this.sink.handleClose(status);
  }
}
