/** DNS messages on a stream, each with its length before it (RFC 1035 §4.2.2). Pure. */
import { putU16 } from './wire.ts';

/** With its length before it: one piece, as RFC 7766 §8 asks. @param message at most 65,535 bytes */
export function framed(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(2 + message.length);
  putU16(bytes, 0, message.length);
  bytes.set(message, 2);
  return bytes;
}

/** Takes a stream in any pieces, and holds at most one incomplete message. */
export class MessageReader {
  private readonly pieces: Uint8Array[] = [];
  private held = 0;

  /** The messages that are whole now; copies. @param bytes only read during the call */
  receive(bytes: Uint8Array): Uint8Array[] {
    // Not `slice`, which of a Buffer is the same memory.
    this.pieces.push(new Uint8Array(bytes));
    this.held += bytes.length;
    const messages: Uint8Array[] = [];
    for (let message = this.take(); message !== undefined; message = this.take()) messages.push(message);
    return messages;
  }

  private take(): Uint8Array | undefined {
    if (this.held < 2) return undefined;
    const length = this.byteAt(0) * 256 + this.byteAt(1);
    if (this.held < 2 + length) return undefined;
    const all = this.joined();
    const rest = all.subarray(2 + length);
    this.pieces.length = 0;
    if (rest.length > 0) this.pieces.push(rest);
    this.held = rest.length;
    return all.slice(2, 2 + length);
  }

  private byteAt(index: number): number {
    let at = index;
    for (const piece of this.pieces) {
      if (at < piece.length) return piece[at] ?? 0;
      at -= piece.length;
    }
    return 0;
  }

  private joined(): Uint8Array {
    const [only] = this.pieces;
    if (this.pieces.length === 1 && only !== undefined) return only;
    const all = new Uint8Array(this.held);
    let at = 0;
    for (const piece of this.pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }
}
