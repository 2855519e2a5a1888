import { describe, expect, it } from 'vitest';
import { TetherLink } from '../../../src/tether/laptop/tether-link.ts';
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../../../src/transport/message-link.ts';
import { describeLinkCompliance } from '../../support/links/link-compliance.ts';
import { LinkRecorder, turns } from '../../support/links/link-recorder.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';

/** The relay's end, after a page that forwards at once and reports it. */
class BehindPage implements MessageLink, MessageLinkHandler {
  private readonly inner: MessageLink;
  private readonly say: (text: string) => void;
  private handler: MessageLinkHandler | undefined;
  private handedOn = 0;

  constructor(inner: MessageLink, say: (text: string) => void) {
    this.inner = inner;
    this.say = say;
  }

  get maxMessageBytes(): number {
    return this.inner.maxMessageBytes;
  }
  get queuedBytes(): number {
    return this.inner.queuedBytes;
  }
  get remote(): string {
    return this.inner.remote;
  }
  setHandler(handler: MessageLinkHandler): void {
    this.handler = handler;
    this.inner.setHandler(this);
  }
  send(message: Message): boolean {
    return this.inner.send(message);
  }
  pause(): void {
    this.inner.pause();
  }
  resume(): void {
    this.inner.resume();
  }
  close(): void {
    this.inner.close();
  }
  abort(): void {
    this.inner.abort();
  }
  handleMessage(message: Message): void {
    this.handedOn += message.reduce((sum, piece) => sum + piece.byteLength, 0);
    const said = String(this.handedOn);
    setImmediate(() => this.say(said));
    this.handler?.handleMessage(message);
  }
  handleDrain(): void {
    this.handler?.handleDrain();
  }
  handleClose(reason: LinkCloseReason): void {
    this.handler?.handleClose(reason);
  }
}

const quiet = { onAlive: () => {}, onEnd: () => {} };

describeLinkCompliance('a link that a page carries', async () => {
  const [inner, outer] = memoryLinkPair();
  const near = new TetherLink(inner, quiet);
  return { near, far: new BehindPage(outer, (text) => near.handleText(text)) };
});

describe('a link that a page carries', () => {
  /** A link whose page sends no reports. */
  function silent(): { readonly link: TetherLink; readonly at: LinkRecorder; readonly far: LinkRecorder } {
    const [inner, outer] = memoryLinkPair({ highMarkBytes: 8 * 1024 * 1024 });
    const link = new TetherLink(inner, quiet);
    return { link, at: new LinkRecorder(link), far: new LinkRecorder(outer) };
  }

  const record = new Uint8Array(48 * 1024);

  it('a page’s link is full while nothing has left the page, although the page has read everything', async () => {
    const { link, at, far } = silent();
    let sent = 0;
    for (let open = true; open; sent += record.length) open = link.send([record]);
    await far.untilMessages(sent / record.length);
    await turns(20);
    expect(at.drains).toBe(0);
    link.handleText(String(sent));
    expect(at.drains).toBe(1);
  });

  it('a page’s link drains when half has left the page, not at every report', () => {
    const { link, at } = silent();
    let sent = 0;
    for (let open = true; open; sent += record.length) open = link.send([record]);
    link.handleText('1');
    link.handleText(String(Math.floor(sent / 4)));
    expect(at.drains).toBe(0);
    link.handleText(String(Math.floor(sent * 0.6)));
    expect(at.drains).toBe(1);
  });

  it('a page’s link ends when the page reports less than before', async () => {
    const { link, at } = silent();
    link.send([record]);
    link.handleText('100');
    link.handleText('99');
    await at.untilClosed();
  });
});
