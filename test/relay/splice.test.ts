import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { splice } from '../../src/relay/splice.ts';
import type { Message, MessageLink, MessageLinkHandler } from '../../src/transport/message-link.ts';
import { LinkRecorder, turns } from '../support/links/link-recorder.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';

function spliced() {
  const [client, clientSide] = memoryLinkPair();
  const [exitSide, exit] = memoryLinkPair();
  const onEnd = vi.fn();
  splice(clientSide, exitSide, { hasMoved: false }, onEnd);
  return {
    client,
    clientSide,
    exitSide,
    exit,
    onEnd,
    atClient: new LinkRecorder(client),
    atExit: new LinkRecorder(exit),
  };
}

/** A link whose `send` answers as the test says, and that remembers what was asked of it. */
class ProbeLink implements MessageLink {
  readonly maxMessageBytes = 65_535;
  readonly queuedBytes = 0;
  readonly remote = 'probe';
  readonly calls: string[] = [];
  readonly sent: Message[] = [];
  room = true;
  handler: MessageLinkHandler | undefined;
  setHandler(handler: MessageLinkHandler): void {
    this.handler = handler;
  }
  send(message: Message): boolean {
    this.sent.push(message);
    return this.room;
  }
  pause = (): void => void this.calls.push('pause');
  resume = (): void => void this.calls.push('resume');
  close = (): void => void this.calls.push('close');
  abort = (): void => void this.calls.push('abort');
}

function probes() {
  const [a, b] = [new ProbeLink(), new ProbeLink()];
  const onEnd = vi.fn();
  splice(a, b, { hasMoved: false }, onEnd);
  for (const { calls } of [a, b]) calls.length = 0;
  return { a, b, onEnd };
}

describe('splice', () => {
  it('a splice carries any messages whole and in order, both ways at once', async () => {
    const bytes = fc.uint8Array({ maxLength: 400 });
    const messages = fc.array(fc.array(bytes, { maxLength: 4 }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(messages, messages, async (up, down) => {
        const { client, exit, atClient, atExit } = spliced();
        for (const message of up) client.send(message);
        for (const message of down) exit.send(message);
        await atExit.untilMessages(up.length);
        await atClient.untilMessages(down.length);
        const hex = (list: readonly Message[]): string[] => list.map((m) => Buffer.concat(m).toString('hex'));
        expect(atExit.messages.map((m) => m.toString('hex'))).toEqual(hex(up));
        expect(atClient.messages.map((m) => m.toString('hex'))).toEqual(hex(down));
      }),
      { seed: 1, numRuns: 60 },
    );
  });

  it('a splice passes on the same pieces that came, without a copy', () => {
    const { a, b } = probes();
    const message = [Uint8Array.of(0), new Uint8Array(0), Uint8Array.of(1, 2)];
    a.handler?.handleMessage(message);
    expect(b.sent).toHaveLength(1);
    expect(b.sent[0]).toBe(message);
  });

  it('a splice stops reading one side only while the other accepts no more', () => {
    for (const [from, to] of [
      [0, 1],
      [1, 0],
    ] as const) {
      // biome-ignore format: two directions
      const { a, b } = probes();
      const [source, sink] = [[a, b][from]!, [a, b][to]!];
      source.handler?.handleMessage([Uint8Array.of(1)]);
      expect(source.calls).toEqual([]);
      sink.room = false;
      source.handler?.handleMessage([Uint8Array.of(2)]);
      expect(source.calls).toEqual(['pause']);
      sink.handler?.handleDrain();
      expect(source.calls).toEqual(['pause', 'resume']);
      expect(sink.calls).toEqual([]);
    }
  });

  it('a splice holds little of what a side does not read, while the other direction continues', async () => {
    const { client, exit, exitSide, atClient } = spliced();
    exit.pause();
    let sent = 0;
    const piece = new Uint8Array(32 * 1024);
    for (let turn = 0; turn < 2_000 && client.queuedBytes < 1024 * 1024; turn++) {
      client.send([piece]);
      sent += piece.length;
      await turns(1);
    }
    expect(client.queuedBytes).toBeGreaterThanOrEqual(1024 * 1024);
    expect(exitSide.queuedBytes).toBeLessThan(512 * 1024);
    expect(sent).toBeLessThan(4 * 1024 * 1024);
    exit.send([Uint8Array.of(7)]);
    await atClient.untilMessages(1);
  });

  it('a splice passes a clean close on after all earlier messages', async () => {
    for (const leaving of ['client', 'exit'] as const) {
      const ends = spliced();
      const staying = leaving === 'client' ? ends.atExit : ends.atClient;
      for (let i = 0; i < 50; i++) ends[leaving].send([new Uint8Array(20_000).fill(i)]);
      ends[leaving].close();
      await staying.untilClosed();
      expect(staying.messages).toHaveLength(50);
      expect(staying.closes[0]?.clean).toBe(true);
      await vi.waitFor(() => expect(ends.onEnd).toHaveBeenCalledTimes(1), 30_000);
    }
  });

  it('a splice never passes on a lost link as a clean close', async () => {
    for (const lost of ['client', 'exit'] as const) {
      const ends = spliced();
      const staying = lost === 'client' ? ends.atExit : ends.atClient;
      ends[lost].abort();
      await staying.untilClosed();
      expect(staying.closes[0]?.clean).toBe(false);
      await vi.waitFor(() => expect(ends.onEnd).toHaveBeenCalledTimes(1), 30_000);
    }
  });
});
