/**
 * A middlebox between two links in memory: so many bytes of the client and of the exit pass, and all else is swallowed,
 * while neither end learns that the other has gone. swallowing-proxy.ts does the same to real WebSockets.
 */
import type { Clock } from '../../../src/clock.ts';
import { releaseAll } from '../../../src/memory/pieces.ts';
import type { Message, MessageLink } from '../../../src/transport/message-link.ts';
import { ALL, type Allowance } from '../net/swallowing-proxy.ts';
import { memoryLinkPair } from './memory-link.ts';

export interface SwallowedLink {
  readonly allowance: Allowance;
  /** When the client gave the link up, ms from its beginning on. */
  givenUpAfter: number | undefined;
}

export class Middlebox {
  /** In order. */
  readonly links: SwallowedLink[] = [];
  private readonly clock: Clock;
  private allowance: Allowance;

  constructor(clock: Clock, allowance: Allowance = { up: 0, down: 0 }) {
    this.clock = clock;
    this.allowance = allowance;
  }

  /** For new links from now on. */
  allow(allowance: Allowance): void {
    this.allowance = allowance;
  }

  /** The client's end. @param serve takes the exit's end */
  connect(serve: (link: MessageLink) => void): MessageLink {
    const [client, near] = memoryLinkPair();
    const [far, exit] = memoryLinkPair();
    const { allowance } = this;
    const entry: SwallowedLink = { allowance, givenUpAfter: undefined };
    this.links.push(entry);
    const since = this.clock.now();
    pass(near, far, allowance.up, () => {
      entry.givenUpAfter = this.clock.now() - since;
      far.abort();
    });
    pass(far, near, allowance.down, () => {
      if (allowance === ALL) near.abort();
    });
    serve(exit);
    return client;
  }
}

/** Passes whole messages until `left` bytes have passed. */
function pass(from: MessageLink, to: MessageLink, left: number, onClose: () => void): void {
  let rest = left;
  from.setHandler({
    handleMessage: (message: Message) => {
      const bytes = message.reduce((sum, piece) => sum + piece.length, 0);
      const passes = bytes <= rest;
      rest = passes ? rest - bytes : 0;
      if (passes) to.send(message);
      else releaseAll(message);
    },
    handleDrain() {},
    handleClose: onClose,
  });
}
