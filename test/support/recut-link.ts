/**
 * A link whose received messages are cut anew: their bytes are taken as one stream, as docs/protocol.md §3 has it, and handed
 * on at other boundaries. What a cutter keeps back follows at the end of the turn, so nothing waits for ever.
 */
import type { Message, MessageLink, MessageLinkHandler } from '../../src/transport/message-link.ts';
import type { Prng } from './prng.ts';

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

  const handOn = (bytes: number): void => {
    const message = Buffer.from(kept.subarray(0, bytes));
    kept = kept.subarray(bytes);
    handler?.handleMessage([message]);
  };
  const cut = (): void => {
    for (let size = cutter(kept.length); size > 0 && kept.length > 0; size = cutter(kept.length)) handOn(size);
  };
  const flush = (): void => {
    flushing = false;
    if (kept.length > 0) handOn(kept.length);
  };
  const receive = (message: Message): void => {
    kept = Buffer.concat([kept, ...message]);
    cut();
    if (!flushing) setImmediate(flush);
    flushing = true;
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
    send: (message) => link.send(message),
    pause: () => link.pause(),
    resume: () => link.resume(),
    close: () => link.close(),
    abort: () => link.abort(),
  };
}
