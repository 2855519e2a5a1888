/** Writes records (docs/protocol.md §3, §4). Small parts share a scratch buffer; large payloads pass uncopied. Pure. */
import { type WireFaultName, wireCodeOf } from '../errors.ts';
import { endFilling, handOut, type Lease, leaseForFilling, type Piece, release } from '../memory/pieces.ts';
import { addressBytes, writeAddress } from './datagrams.ts';
import { FRAME_HEADER_BYTES, FrameType, PROTOCOL_VERSION } from './frames.ts';
import { USUAL_HEADER_BYTES } from './record-header.ts';
import { codeOfService, type OpenRequest } from './services.ts';
import { encodeHost, type Target } from './target.ts';

/** Payloads up to this many bytes are copied into the scratch: that is cheaper than one more piece for the link. */
const COPY_BELOW_BYTES = 2048;

/** Each scratch is twice as large as the last, between these: an idle session keeps a small one. */
const FIRST_SCRATCH_BYTES = 128;
const LARGEST_SCRATCH_BYTES = 4096;
const NO_SCRATCH = Buffer.alloc(0);

/** Builds one record. `take()` ends it; the encoder is then ready for the next. */
export class RecordEncoder {
  private pieces: Piece[] = [];
  private scratch = NO_SCRATCH;
  /** Only of a scratch of the largest size: bulk in small payloads uses many of them. */
  private lease: Lease | undefined;
  /** The scratch holds finished pieces up to `start`, the open piece up to `used`. */
  private start = 0;
  private used = 0;
  private bytes = 0;

  get length(): number {
    return this.bytes;
  }

  /** USUAL_HEADER_BYTES are free in front of the first piece, for `prependRecordHeader`. */
  take(): readonly Piece[] {
    this.closePiece();
    const { pieces } = this;
    this.pieces = [];
    this.bytes = 0;
    this.used += USUAL_HEADER_BYTES;
    this.start = this.used;
    return pieces;
  }

  /** Between two records, when little is to be sent for now: the next scratch is a small one again. */
  releaseBuffers(): void {
    endFilling(this.scratch.buffer, this.lease);
    this.lease = undefined;
    this.scratch = NO_SCRATCH;
    this.start = 0;
    this.used = 0;
  }

  /** @param features bits of docs/protocol.md §6 */
  hello(maxStreams: number, features: number): void {
    const at = this.header(FrameType.hello, 8, 0);
    this.scratch.writeUInt16BE(PROTOCOL_VERSION, at);
    this.scratch.writeUInt16BE(features, at + 2);
    this.scratch.writeUInt32BE(maxStreams, at + 4);
  }

  /** The target must be one that `encodeHost` can write. */
  open(stream: number, credit: number, { service, target, listener }: OpenRequest): void {
    const address = encodeHost(target);
    if (!address) throw new RangeError('a target that cannot be encoded');
    const before = listener === undefined ? 0 : 4;
    const at = this.header(FrameType.open, 8 + before + address.host.length, stream);
    this.scratch.writeUInt32BE(credit, at);
    this.scratch[at + 4] = codeOfService(service);
    this.scratch[at + 5] = address.kind;
    this.scratch.writeUInt16BE(target.port, at + 6);
    if (listener !== undefined) this.scratch.writeUInt32BE(listener, at + 8);
    this.scratch.set(address.host, at + 8 + before);
  }

  /** @param bound of a listener: where it listens, an IP address */
  opened(stream: number, credit: number, bound?: Target): void {
    const address = bound && encodeHost(bound);
    const at = this.header(FrameType.opened, address === undefined ? 4 : 7 + address.host.length, stream);
    this.scratch.writeUInt32BE(credit, at);
    if (address === undefined || bound === undefined) return;
    this.scratch[at + 4] = address.kind;
    this.scratch.writeUInt16BE(bound.port, at + 5);
    this.scratch.set(address.host, at + 7);
  }

  /** For a record that is not numbered. @param address undefined where the association is connected */
  datagram(stream: number, address: Target | undefined, content: Piece): void {
    const headed = address === undefined ? 0 : addressBytes(address);
    const at = this.header(FrameType.datagram, headed + content.length, stream, headed);
    if (address !== undefined) writeAddress(address, this.scratch, at);
    this.bytes -= content.length;
    this.payload(content);
  }

  openFailed(stream: number, fault: WireFaultName): void {
    const at = this.header(FrameType.openFailed, 2, stream);
    this.scratch.writeUInt16BE(wireCodeOf(fault), at);
  }

  /** Begins a DATA frame; exactly `length` bytes of payload must follow. */
  dataHeader(stream: number, length: number): void {
    this.bytes -= length;
    this.header(FrameType.data, length, stream, 0);
  }

  payload(piece: Piece): void {
    const { length } = piece;
    this.bytes += length;
    if (length <= COPY_BELOW_BYTES) {
      this.reserve(length);
      this.scratch.set(piece, this.used);
      this.used += length;
      release(piece);
    } else {
      this.closePiece();
      this.pieces.push(piece);
    }
  }

  credit(stream: number, increment: number): void {
    const at = this.header(FrameType.credit, 4, stream);
    this.scratch.writeUInt32BE(increment, at);
  }

  finish(stream: number): void {
    this.header(FrameType.finish, 0, stream);
  }

  reset(stream: number, fault: WireFaultName): void {
    const at = this.header(FrameType.reset, 2, stream);
    this.scratch.writeUInt16BE(wireCodeOf(fault), at);
  }

  /** @param wanted how many links this end could use, 1 to 255 @param maxBytes that it can receive on each; 0: any */
  links(wanted: number, maxBytes: number): void {
    const at = this.header(FrameType.links, 5, 0);
    this.scratch[at] = wanted;
    this.scratch.writeUInt32BE(maxBytes, at + 1);
  }

  /** @param payload of `encodeRelays` */
  relays(payload: Uint8Array): void {
    const at = this.header(FrameType.relays, payload.length, 0);
    this.scratch.set(payload, at);
  }

  /** `opaque` has 8 bytes. */
  ping(opaque: Uint8Array): void {
    const at = this.header(FrameType.ping, 8, 0);
    this.scratch.set(opaque, at);
  }

  pong(opaque: Uint8Array): void {
    const at = this.header(FrameType.pong, 8, 0);
    this.scratch.set(opaque, at);
  }

  goAway(fault: WireFaultName, lastStream: number): void {
    const at = this.header(FrameType.goAway, 6, 0);
    this.scratch.writeUInt16BE(wireCodeOf(fault), at);
    this.scratch.writeUInt32BE(lastStream, at + 2);
  }

  /** Writes a header, reserves `inline` bytes after it; returns where they begin in `scratch`, perhaps a new one. */
  private header(type: number, length: number, stream: number, inline = length): number {
    this.reserve(FRAME_HEADER_BYTES + inline);
    const { scratch, used } = this;
    scratch.writeUInt32BE(((type << 24) | length) >>> 0, used);
    scratch.writeUInt32BE(stream, used + 4);
    this.used = used + FRAME_HEADER_BYTES + inline;
    this.bytes += FRAME_HEADER_BYTES + length;
    return used + FRAME_HEADER_BYTES;
  }

  private reserve(bytes: number): void {
    if (this.scratch.length - this.used >= bytes) return;
    this.closePiece();
    const next = Math.min(LARGEST_SCRATCH_BYTES, Math.max(FIRST_SCRATCH_BYTES, 2 * this.scratch.length));
    endFilling(this.scratch.buffer, this.lease);
    this.scratch = Buffer.allocUnsafeSlow(Math.max(next, USUAL_HEADER_BYTES + bytes));
    this.lease = next === LARGEST_SCRATCH_BYTES ? leaseForFilling(this.scratch.buffer) : undefined;
    this.start = USUAL_HEADER_BYTES;
    this.used = USUAL_HEADER_BYTES;
  }

  private closePiece(): void {
    if (this.used > this.start) {
      const piece = this.scratch.subarray(this.start, this.used);
      if (this.lease !== undefined) handOut(piece);
      this.pieces.push(piece);
    }
    this.start = this.used;
  }
}
