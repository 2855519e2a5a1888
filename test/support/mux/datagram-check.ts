/** What one end of an association sends and receives: datagrams that were doubled, altered or cut show. */
import type { Side } from './mux-rig.ts';

const NUMBER_BYTES = 4;

export class DatagramCheck {
  sent = 0;
  private readonly seen = new Set<number>();
  private newest = -1;
  /** The latest that has come was sent before another one that came earlier. */
  isReordered = false;

  constructor(private readonly stream: number) {}

  get received(): number {
    return this.seen.size;
  }

  /** The next one to send, of so many bytes, at least 4. */
  next(side: Side, length: number): Buffer {
    this.sent += 1;
    return this.contentOf(side, this.sent - 1, length);
  }

  receive(sender: Side, content: Uint8Array): void {
    const number = Buffer.from(content).readUInt32BE(0);
    if (!this.contentOf(sender, number, content.length).equals(content))
      throw new Error('broken: a datagram is altered');
    if (this.seen.has(number)) throw new Error('broken: a datagram has come twice');
    this.seen.add(number);
    this.isReordered = number < this.newest;
    this.newest = Math.max(this.newest, number);
  }

  /** The length is a part of it. */
  private contentOf(side: Side, number: number, length: number): Buffer {
    const bytes = Buffer.alloc(Math.max(NUMBER_BYTES, length));
    const shift = this.stream * 41 + number * 7 + bytes.length + (side === 'client' ? 0 : 103);
    for (let at = NUMBER_BYTES; at < bytes.length; at++) bytes[at] = shift + at * 13;
    bytes.writeUInt32BE(number);
    return bytes;
  }
}
