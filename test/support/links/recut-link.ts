/**
 * A link whose received records are cut anew: their frames are taken as one stream, as docs/protocol.md §3 has it, and
 * handed on in records with other boundaries, as if the sender had cut them so. What a cutter keeps back follows at the
 * end of the turn, so nothing waits for ever.
 *
 * A sender would number the new records and be told of them so; its peer's counts are put back into its own terms on
 * the way.
 */
import { decodeRecordHeader, dropPrefix, encodeRecordHeader } from '../../../src/protocol/record-header.ts';
import type { Message, MessageLink, MessageLinkHandler } from '../../../src/transport/message-link.ts';
import type { Prng } from '../prng.ts';

/** How many of the bytes that are there become the next message; 0: none for now. */
export type Cutter = (available: number) => number;

export const oneByte: Cutter = () => 1;

/** Every boundary moved back by so many bytes. */
export function shiftedBy(bytes: number): Cutter {
  return (available) => Math.max(0, available - bytes);
}

export function randomCuts(random: Prng, largest: number): Cutter {
  return (available) => Math.min(available, random.below(largest));
}

export function recutLink(link: MessageLink, cutter: Cutter): MessageLink {
  let kept = Buffer.alloc(0);
  let flushing = false;
  let handler: MessageLinkHandler | undefined;
  let acknowledged = 0;
  const counts = new Counts();

  const handOn = (bytes: number): void => {
    const frames = Buffer.from(kept.subarray(0, bytes));
    kept = kept.subarray(bytes);
    counts.handedOn(bytes);
    handler?.handleMessage([encodeRecordHeader({ isNumbered: true, mayWait: false, acknowledged: undefined }), frames]);
  };
  const cut = (): void => {
    for (let size = cutter(kept.length); size > 0 && kept.length > 0; size = cutter(kept.length)) handOn(size);
  };
  const flush = (): void => {
    flushing = false;
    if (kept.length > 0) handOn(kept.length);
  };
  const receive = (message: Message): void => {
    const decoded = decodeRecordHeader(message);
    if (decoded === undefined) return handler?.handleMessage(message);
    const { header, bytes } = decoded;
    if (header.acknowledged !== undefined && header.acknowledged.position > acknowledged) {
      acknowledged = header.acknowledged.position;
      handler?.handleMessage([encodeRecordHeader({ ...header, isNumbered: false, mayWait: false })]);
    }
    if (!header.isNumbered) return;
    const frames = Buffer.concat(dropPrefix(message, bytes));
    counts.came(frames.length);
    kept = Buffer.concat([kept, frames]);
    cut();
    if (!flushing) setImmediate(flush);
    flushing = true;
  };
  const send = (message: Message): boolean => {
    const decoded = decodeRecordHeader(message);
    const told = decoded?.header.acknowledged;
    if (decoded === undefined || told === undefined) return link.send(message);
    const acknowledged = { ...told, position: counts.originalOf(told.position) };
    const header = encodeRecordHeader({ ...decoded.header, acknowledged });
    return link.send([header, ...dropPrefix(message, decoded.bytes)]);
  };

  link.setHandler({
    handleMessage: receive,
    handleDrain: () => handler?.handleDrain(),
    handleClose: (reason) => {
      flush();
      handler?.handleClose(reason);
    },
  });
  return {
    maxMessageBytes: link.maxMessageBytes,
    remote: link.remote,
    get queuedBytes() {
      return link.queuedBytes;
    },
    setHandler: (next) => {
      handler = next;
    },
    send,
    pause: () => link.pause(),
    resume: () => link.resume(),
    close: () => link.close(),
    abort: () => link.abort(),
  };
}

/** How many of the sender's records lie whole in so many of the new ones. */
class Counts {
  /** Bytes of frames up to the end of each record. */
  private readonly originalEnds: number[] = [];
  private readonly newEnds: number[] = [];
  private whole = 0;

  came(bytes: number): void {
    this.originalEnds.push((this.originalEnds.at(-1) ?? 0) + bytes);
  }

  handedOn(bytes: number): void {
    this.newEnds.push((this.newEnds.at(-1) ?? 0) + bytes);
  }

  originalOf(count: number): number {
    const end = this.newEnds[count - 1] ?? 0;
    while ((this.originalEnds[this.whole] ?? Number.POSITIVE_INFINITY) <= end) this.whole += 1;
    return this.whole;
  }
}
