/**
 * A man in the middle: two links in memory and a relay between them that sees every message, and may withhold it,
 * change it, or send others in its place. An end's goodbye or failure is passed on, as a splice of two WebSockets does.
 */

import type { MessageLink } from '../../../src/transport/message-link.ts';
import { LinkRecorder } from './link-recorder.ts';
import { memoryLinkPair } from './memory-link.ts';

/** `up`: from the client to the exit. */
export type Direction = 'up' | 'down';

/** What to pass on in place of a message, the `number`-th (from 0) of its direction. */
export type Tamper = (message: Buffer, number: number, direction: Direction) => readonly Uint8Array[];

export const honest: Tamper = (message) => [message];

export class Middle {
  /** The two ends, open, without handlers. */
  readonly client: MessageLink;
  readonly exit: MessageLink;
  /** What the ends have sent, before it was tampered with. */
  readonly sent: Readonly<Record<Direction, Buffer[]>> = { up: [], down: [] };
  tamper: Tamper;
  private readonly fromClient: LinkRecorder;
  private readonly fromExit: LinkRecorder;
  private readonly toward: Readonly<Record<Direction, MessageLink>>;

  constructor(tamper: Tamper = honest) {
    this.tamper = tamper;
    const [client, besideClient] = memoryLinkPair();
    const [exit, besideExit] = memoryLinkPair();
    this.client = client;
    this.exit = exit;
    this.toward = { up: besideExit, down: besideClient };
    this.fromClient = this.listen(besideClient, 'up');
    this.fromExit = this.listen(besideExit, 'down');
  }

  inject(direction: Direction, message: Uint8Array): void {
    this.toward[direction].send([message]);
  }

  /** Says goodbye to both, as if the other had. */
  close(): void {
    this.toward.up.close();
    this.toward.down.close();
  }

  /** How an end let go of its link: `undefined` if it has not. */
  get ended(): { readonly client: boolean | undefined; readonly exit: boolean | undefined } {
    return { client: this.fromClient.closes[0]?.clean, exit: this.fromExit.closes[0]?.clean };
  }

  private listen(link: MessageLink, direction: Direction): LinkRecorder {
    const recorder = new LinkRecorder(link);
    recorder.onMessage = (message) => {
      const number = this.sent[direction].push(Buffer.from(message)) - 1;
      for (const next of this.tamper(message, number, direction)) this.inject(direction, next);
    };
    void recorder.untilClosed().then(() => {
      const other = this.toward[direction];
      if (recorder.closes[0]?.clean) other.close();
      else other.abort();
    });
    return recorder;
  }
}
