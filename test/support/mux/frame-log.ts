/** Records what a FrameDecoder hands on, in a form that does not depend on where its input was cut. */
import { FrameDecoder, type FrameHandler, type Violation } from '../../../src/protocol/frame-decoder.ts';
import type { ToldRelays } from '../../../src/protocol/relays.ts';
import type { OpenRequest } from '../../../src/protocol/services.ts';
import type { Target } from '../../../src/protocol/target.ts';

export type LoggedFrame = readonly (string | number | Target | OpenRequest | undefined)[];

export class FrameLog implements FrameHandler {
  readonly frames: LoggedFrame[] = [];
  /** Called for each frame: what the decoder is to be answered. */
  answer: (frame: LoggedFrame) => Violation = () => undefined;
  private payload: Uint8Array[] = [];

  /** The payload of the last DATA frame, as far as it has come. */
  get lastPayload(): Buffer {
    return Buffer.concat(this.payload);
  }

  private log(...frame: LoggedFrame): Violation {
    this.closePayload();
    this.frames.push(frame);
    return this.answer(frame);
  }

  closePayload(): void {
    if (this.payload.length > 0) this.frames.push(['payload', Buffer.concat(this.payload).toString('hex')]);
    this.payload = [];
  }

  handleHello = (version: number, maxStreams: number, features: number): Violation =>
    this.log('hello', version, maxStreams, features);
  handleOpen = (stream: number, credit: number, request: OpenRequest | undefined): Violation =>
    this.log('open', stream, credit, request);
  handleOpened = (stream: number, credit: number, bound: Target | undefined): Violation =>
    bound === undefined ? this.log('opened', stream, credit) : this.log('opened', stream, credit, bound);
  handleOpenFailed = (stream: number, code: number): Violation => this.log('open-failed', stream, code);
  handleDataHeader = (stream: number, length: number): Violation => this.log('data', stream, length);
  handleCredit = (stream: number, increment: number): Violation => this.log('credit', stream, increment);
  handleFinish = (stream: number): Violation => this.log('finish', stream);
  handleReset = (stream: number, code: number): Violation => this.log('reset', stream, code);
  handlePing = (opaque: Uint8Array): Violation => this.log('ping', Buffer.from(opaque).toString('hex'));
  handlePong = (opaque: Uint8Array): Violation => this.log('pong', Buffer.from(opaque).toString('hex'));
  handleGoAway = (code: number, lastStream: number): Violation => this.log('go-away', code, lastStream);
  handleLinks = (wanted: number, maxBytes: number): Violation => this.log('links', wanted, maxBytes);
  handleRelays = (told: ToldRelays | undefined): Violation => this.log('relays', ...(told ? loggedRelays(told) : []));
  handleIgnorable = (): Violation => this.log('ignorable');

  handleData(_stream: number, bytes: Uint8Array): void {
    // The stream is checked through the header: DATA payload always belongs to the last one.
    this.payload.push(Uint8Array.from(bytes));
  }
}

/** URLs, then pins. */
export function loggedRelays({ urls, pins }: ToldRelays): string[] {
  return [...urls, ...pins.map((pin) => Buffer.from(pin).toString('hex'))];
}

export interface Decoded {
  readonly frames: readonly LoggedFrame[];
  readonly fault: Violation;
}

export function decodePieces(pieces: Iterable<Uint8Array>, answer?: FrameLog['answer']): Decoded {
  const decoder = new FrameDecoder();
  const log = new FrameLog();
  if (answer) log.answer = answer;
  let fault: Violation;
  for (const piece of pieces) fault = decoder.decode(piece, log);
  log.closePayload();
  return { frames: log.frames, fault };
}

/** Every byte in a piece of its own. */
export function byteByByte(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (byte) => Uint8Array.of(byte));
}

/** Cut at the given offsets, in any order, with repetitions (empty pieces). */
export function cutAt(bytes: Uint8Array, offsets: readonly number[]): Uint8Array[] {
  const ends = [...offsets.map((offset) => offset % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let start = 0;
  return ends.map((end) => {
    const piece = bytes.subarray(start, end);
    start = end;
    return piece;
  });
}
