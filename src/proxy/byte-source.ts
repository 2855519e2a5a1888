/** The bytes of a socket or stream, for one reader after another. An end without a reader is kept for the next. */
import type { Readable } from 'node:stream';
import { joinReleasing, type Piece } from '../memory/pieces.ts';
import { takeUnread } from '../tunnel/stream/socket-reset.ts';

export interface ByteReader {
  /** Takes the bytes. Undefined: it wants more. Otherwise it is done, and returns what it leaves to the next. */
  receive(bytes: Buffer & Piece): (Buffer & Piece) | undefined;
  /** No byte will follow, so it is done, too. `error`: the end is not clean. */
  end(error?: Error): void;
}

const NOTHING = Buffer.alloc(0);

export class ByteSource {
  private reader: ByteReader | undefined;
  private held: Buffer & Piece = NOTHING;
  private end: { readonly error?: Error } | undefined;
  private error: Error | undefined;
  private isFeeding = false;
  private isPaused = false;
  private isReleased = false;

  /** What was put back comes first. `mark`: `ownRead` for a socket; a tunnel's chunks already have an owner. */
  constructor(
    private readonly from: Readable,
    private readonly mark: (chunk: Buffer) => Buffer & Piece = (chunk) => chunk,
  ) {
    from.on('data', this.handleData).on('end', this.handleEnd);
    from.on('error', this.handleError).on('close', this.handleClose);
    from.pause();
    if (from.readableEnded) this.handleEnd();
    else if (from.destroyed) this.handleClose();
  }

  /** There are bytes that no reader has taken. */
  get hasBytes(): boolean {
    return this.held.length > 0;
  }

  /** No more bytes will come, but some may not have been taken. */
  get hasEnded(): boolean {
    return this.end !== undefined;
  }

  /** Passes to the reader at once what is there. It replaces a reader that is not done. */
  read(reader: ByteReader): void {
    this.reader = reader;
    this.isPaused = false;
    this.feed();
  }

  /** The reader has enough for now; it is still told of an end. */
  pause(): void {
    this.isPaused = true;
    this.from.pause();
  }

  resume(): void {
    this.isPaused = false;
    this.feed();
  }

  /** The reader gets nothing more. */
  stop(): void {
    this.reader = undefined;
    this.from.pause();
  }

  /** Leaves the stream, paused, to another user. Returns what was not taken: after an end it cannot be put back. */
  release(): Buffer & Piece {
    this.stop();
    this.isReleased = true;
    this.from.off('data', this.handleData).off('end', this.handleEnd);
    this.from.off('error', this.handleError).off('close', this.handleClose);
    const held = this.held;
    this.held = NOTHING;
    return held;
  }

  private readonly handleData = (bytes: Buffer): void => {
    const piece = this.mark(bytes);
    this.held = this.held.length === 0 ? piece : joined([this.held, piece]);
    this.feed();
  };

  private readonly handleEnd = (): void => {
    this.end ??= {};
    this.feed();
  };

  private readonly handleError = (error: Error): void => {
    this.error = error;
  };

  /** What Node had read before comes first. After a clean end, a close has no effect. */
  private readonly handleClose = (): void => {
    this.held = joined([this.held, ...takeUnread(this.from)]);
    this.end ??= { error: this.error ?? new Error('the connection was aborted') };
    this.feed();
  };

  /** A reader may set the next one while it is called. */
  private feed(): void {
    if (this.isFeeding) return;
    this.isFeeding = true;
    while (this.show());
    this.isFeeding = false;
    if (this.end !== undefined || this.isReleased) return;
    if (this.reader === undefined) this.from.pause();
    else if (!this.isPaused) this.from.resume();
  }

  /** False: there is nothing to pass on, or no reader. */
  private show(): boolean {
    const reader = this.reader;
    if (reader === undefined) return false;
    if (this.held.length === 0) {
      if (this.end === undefined) return false;
      this.reader = undefined;
      reader.end(this.end.error);
      return true;
    }
    if (this.isPaused) return false;
    const bytes = this.held;
    this.held = NOTHING;
    const rest = reader.receive(bytes);
    if (rest === undefined) return true;
    this.held = rest;
    if (this.reader === reader) this.reader = undefined;
    return true;
  }
}

/** Concatenated; copied only if there are several. */
function joined(pieces: readonly (Buffer & Piece)[]): Buffer & Piece {
  const [first = NOTHING, ...others] = pieces.filter(({ length }) => length > 0);
  return others.length === 0 ? first : joinReleasing([first, ...others]);
}
