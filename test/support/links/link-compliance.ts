/**
 * What every MessageLink must keep (src/transport/message-link.ts), as a suite for any implementation:
 *
 *     describeLinkCompliance('memory', async () => { const [near, far] = memoryLinkPair(); return { near, far, … }; });
 */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { until } from '../until.ts';
import { LinkRecorder, turns, untilStill } from './link-recorder.ts';

export interface LinkPair {
  /** Two ends of one link, open, without handlers. */
  readonly near: MessageLink;
  readonly far: MessageLink;
  /** The network under `far` fails silently; undefined if there is no network. */
  readonly vanish?: () => void;
  /** Frees what `open` created beside the link. */
  readonly release?: () => Promise<void> | void;
}

/** More than all kernel buffers hold: a sender that gets this far has no back-pressure. */
const UNBOUNDED_BYTES = 128 * 1024 * 1024;
/** What may still arrive after `pause`: one read of at most 256 KiB, and the message that it completes. */
const ONE_READ_BYTES = 256 * 1024 + 65_535;

export function describeLinkCompliance(name: string, open: () => Promise<LinkPair>): void {
  const pairs: LinkPair[] = [];
  const openPair = async (): Promise<LinkPair> => {
    const pair = await open();
    pairs.push(pair);
    return pair;
  };

  afterEach(async () => {
    for (const { near, far, release } of pairs.splice(0)) {
      near.abort();
      far.abort();
      await release?.();
    }
  });

  describe(`${name} keeps the promises of a MessageLink`, () => {
    describeMessages(openPair);
    describeTurns(openPair);
    describeBackPressure(openPair);
    describeEnd(openPair);
    describeAfterEnd(openPair);
  });
}

type Open = () => Promise<LinkPair>;

interface Recorded extends LinkPair {
  readonly atNear: LinkRecorder;
  readonly atFar: LinkRecorder;
}

async function recorded(open: Open): Promise<Recorded> {
  const pair = await open();
  return { ...pair, atNear: new LinkRecorder(pair.near), atFar: new LinkRecorder(pair.far) };
}

/** `bytes` long; different for each `seed`. */
function pattern(bytes: number, seed: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i++) buffer[i] = (i * 31 + seed * 131 + (i >> 8)) & 0xff;
  return buffer;
}

function describeMessages(open: Open): void {
  it('a link gives its memory away with a message: what was delivered does not change', async () => {
    const { near, far, atNear, atFar } = await recorded(open);
    for (let i = 0; i < 100; i++) for (const end of [near, far]) end.send([pattern(30_000, i)]);
    for (const at of [atNear, atFar]) {
      await at.untilMessages(100);
      expect(at.kept.every((message, i) => at.messages[i]?.equals(Buffer.concat(message)))).toBe(true);
    }
  });

  it('a link carries messages of every size whole and in order, both ways', async () => {
    const { near, far, atNear, atFar } = await recorded(open);
    const sizes = [0, 1, 2, 125, 126, 127, 2_047, 2_048, 32_768, near.maxMessageBytes - 1, near.maxMessageBytes, 0, 3];
    const sent = sizes.map(pattern);
    for (const message of sent) {
      near.send([Uint8Array.from(message)]);
      far.send([Uint8Array.from(message)]);
    }
    await atFar.untilMessages(sent.length);
    await atNear.untilMessages(sent.length);
    for (const at of [atNear, atFar]) {
      expect(at.messages.map((message) => message.length)).toEqual(sizes);
      for (const [i, message] of at.messages.entries()) expect(message.equals(sent[i]!)).toBe(true);
    }
  });

  it('a link gives piece boundaries no meaning', async () => {
    const { near, atFar } = await recorded(open);
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.integer({ min: 0, max: 9_000 }).map((n) => pattern(n, n)),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(piece, { maxLength: 7 }), { minLength: 1, maxLength: 5 }),
        async (messages) => {
          const before = atFar.messages.length;
          for (const message of messages) near.send(message.map((bytes) => Uint8Array.from(bytes)));
          await atFar.untilMessages(before + messages.length);
          const whole = messages.map((message) => Buffer.concat(message).toString('hex'));
          expect(atFar.messages.slice(before).map((message) => message.toString('hex'))).toEqual(whole);
        },
      ),
      { numRuns: 50, seed: 2 },
    );
  });

  it('a link does not change the sender’s pieces', async () => {
    const { near, atFar } = await recorded(open);
    const piece = pattern(5_000, 1);
    near.send([piece, piece]);
    await atFar.untilMessages(1);
    expect(piece.equals(pattern(5_000, 1))).toBe(true);
  });

  it('a link ends on both sides at a message one byte too large', async () => {
    const { near, atNear, atFar } = await recorded(open);
    near.send([new Uint8Array(near.maxMessageBytes), new Uint8Array(1)]);
    await atNear.untilClosed();
    await atFar.untilClosed();
    expect(atFar.messages).toEqual([]);
    expect(atNear.closes[0]?.clean).toBe(false);
    expect(atFar.closes[0]?.clean).toBe(false);
  });
}

function describeTurns(open: Open): void {
  it('a link delivers nothing before there is a handler, nor within setHandler', async () => {
    const { near, far } = await open();
    near.send([Uint8Array.of(1)]);
    near.send([Uint8Array.of(2)]);
    await turns(20);
    const atFar = new LinkRecorder(far);
    expect(atFar.messages).toEqual([]);
    await atFar.untilMessages(2);
    expect(Buffer.concat(atFar.messages)).toEqual(Buffer.of(1, 2));
  });

  it('a link never calls its handler within a call of the owner', async () => {
    const { near, far, atNear, atFar } = await recorded(open);
    let inCall = 0;
    let within = 0;
    const call = (action: () => void): void => {
      inCall += 1;
      action();
      inCall -= 1;
    };
    for (const at of [atNear, atFar]) {
      at.onMessage = () => {
        within += inCall;
        if (atFar.messages.length + atNear.messages.length > 200) return;
        call(() => (at === atNear ? near : far).send([new Uint8Array(30_000)]));
      };
      at.onDrain = () => {
        within += inCall;
      };
    }
    for (let i = 0; i < 20; i++) call(() => near.send([new Uint8Array(30_000)]));
    // The last ones may come at either end.
    await until(() => atFar.messages.length + atNear.messages.length > 200);
    call(() => near.pause());
    call(() => near.resume());
    call(() => near.abort());
    expect([atNear.closes.length, within]).toEqual([0, 0]);
    await atNear.untilClosed();
  });
}

/** Sends numbered messages until the link stays blocked; resolves to how many went. */
async function fill(near: MessageLink, atNear: LinkRecorder): Promise<number> {
  let sent = 0;
  const pump = (): void => {
    let more = true;
    while (more) {
      const message = Buffer.alloc(60_000);
      message.writeUInt32BE(sent++);
      more = near.send([message]);
      if (sent * 60_000 > UNBOUNDED_BYTES) throw new Error('there is no back-pressure');
    }
  };
  atNear.onDrain = pump;
  pump();
  await untilStill(() => sent);
  atNear.onDrain = undefined;
  return sent;
}

function describeBackPressure(open: Open): void {
  it('a link blocks the sender while the receiver is paused, drains once, and loses nothing', async () => {
    const { near, far, atNear, atFar } = await recorded(open);
    far.pause();
    await turns(3);
    const sent = await fill(near, atNear);
    const drainsBefore = atNear.drains;
    expect(near.queuedBytes).toBeGreaterThan(0);
    expect(near.queuedBytes).toBeLessThanOrEqual(4 * near.maxMessageBytes);
    expect(atFar.bytes).toBeLessThanOrEqual(ONE_READ_BYTES);

    far.resume();
    await atFar.untilMessages(sent);
    await until(() => near.queuedBytes === 0 && atNear.drains > drainsBefore);
    await turns(10);
    expect(atNear.drains).toBe(drainsBefore + 1);
    expect(atFar.messages.every((message, i) => message.length === 60_000 && message.readUInt32BE(0) === i)).toBe(true);
  });

  it('a link stops delivery at pause after at most one read, and continues at resume', async () => {
    const { near, far, atFar } = await recorded(open);
    atFar.onMessage = () => {
      if (atFar.messages.length === 1) far.pause();
    };
    for (let i = 0; i < 200; i++) near.send([Buffer.alloc(8_000, i)]);
    await atFar.untilMessages(1);
    await untilStill(() => atFar.messages.length, 50);
    expect(atFar.bytes).toBeLessThanOrEqual(ONE_READ_BYTES);
    far.resume();
    await atFar.untilMessages(200);
    expect(atFar.messages.every((message, i) => message.equals(Buffer.alloc(8_000, i)))).toBe(true);
  });

  it('a link stays paused if it was paused before it had a handler', async () => {
    const { near, far } = await open();
    far.pause();
    const atFar = new LinkRecorder(far);
    near.send([Uint8Array.of(7)]);
    await turns(20);
    expect(atFar.messages).toEqual([]);
    far.resume();
    await atFar.untilMessages(1);
  });
}

function describeEnd(open: Open): void {
  it('a link sends what is queued before it closes, and both ends learn of the end once', async () => {
    const { near, atNear, atFar } = await recorded(open);
    for (let i = 0; i < 300; i++) near.send([Buffer.alloc(60_000, i)]);
    near.close();
    near.close();
    await atFar.untilClosed();
    await atNear.untilClosed();
    await turns(10);
    expect(atFar.messages.every((message, i) => message.equals(Buffer.alloc(60_000, i)))).toBe(true);
    expect(atFar.messages.length).toBe(300);
    expect([atNear.closes.length, atFar.closes.length]).toEqual([1, 1]);
    expect([atNear.closes[0]?.clean, atFar.closes[0]?.clean]).toEqual([true, true]);
  });

  it('a link delivers nothing to an end that has closed, even while it is paused', async () => {
    const { near, far, atNear, atFar } = await recorded(open);
    near.pause();
    for (let i = 0; i < 20; i++) far.send([Buffer.alloc(1_000)]);
    await turns(10);
    near.close();
    await atNear.untilClosed();
    await atFar.untilClosed();
    expect(atNear.messages).toEqual([]);
    expect(atNear.closes[0]?.clean).toBe(true);
  });

  it('a link ends once when both ends close at the same time', async () => {
    const { near, far, atNear, atFar } = await recorded(open);
    near.close();
    far.close();
    await atNear.untilClosed();
    await atFar.untilClosed();
    await turns(10);
    expect([atNear.closes.length, atFar.closes.length]).toEqual([1, 1]);
  });

  it('a link ends at once at abort, unclean for the other end', async () => {
    const { near, far, atNear, atFar } = await recorded(open);
    far.pause();
    await turns(3);
    await fill(near, atNear);
    far.resume();
    near.abort();
    expect(atNear.closes).toEqual([]);
    await atNear.untilClosed();
    await atFar.untilClosed();
    await turns(10);
    expect([atNear.closes.length, atFar.closes.length]).toEqual([1, 1]);
    expect(atFar.closes[0]?.clean).toBe(false);
  });
}

function describeAfterEnd(open: Open): void {
  it('a link accepts calls after its end without effect', async () => {
    const { near, far, atNear, atFar } = await recorded(open);
    near.close();
    expect(near.send([Uint8Array.of(1)])).toBe(true);
    await atNear.untilClosed();
    await atFar.untilClosed();
    for (const link of [near, far]) {
      expect(link.send([Uint8Array.of(1)])).toBe(true);
      expect(link.queuedBytes).toBe(0);
      link.pause();
      link.resume();
      link.close();
      link.abort();
    }
    await turns(10);
    expect([atFar.messages.length, atNear.closes.length, atFar.closes.length]).toEqual([0, 1, 1]);
  });

  it('a link reports an end that came before it had a handler', async () => {
    const { near, far } = await open();
    const atNear = new LinkRecorder(near);
    near.abort();
    await atNear.untilClosed();
    await turns(20);
    const atFar = new LinkRecorder(far);
    expect(atFar.closes).toEqual([]);
    await atFar.untilClosed();
    expect(atFar.closes[0]?.clean).toBe(false);
  });

  it('a link notices a peer that vanishes', async () => {
    const { near, vanish, atNear, atFar } = await recorded(open);
    near.send([Uint8Array.of(1)]);
    await atFar.untilMessages(1);
    vanish?.();
    if (vanish === undefined) near.abort();
    await atNear.untilClosed();
    await turns(10);
    expect(atNear.closes.map(({ clean }) => clean)).toEqual([false]);
  });
}
