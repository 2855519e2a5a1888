import { describe, expect, it } from 'vitest';
import { settledMemory } from '../../bench/memory.ts';
import { DEFAULT_MUX_CONFIG, DEFAULT_RESUME_CONFIG } from '../../src/mux/config.ts';
import { ReplayMemory } from '../../src/mux/replay-store.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { encodeRecordHeader } from '../../src/protocol/record-header.ts';
import { memoryLinkPair } from '../../src/transport/memory-link.ts';
import { SessionDriver } from '../../src/tunnel/session-driver.ts';
import type { TunnelStream } from '../../src/tunnel/stream.ts';
import { prng } from '../support/prng.ts';
import { FIRST_LINK } from '../support/session-pairs.ts';
import { until } from '../support/until.ts';
import { frame, wire } from '../support/wire.ts';

const NUMBERED = encodeRecordHeader({ isNumbered: true, acknowledged: undefined });

/** An exit's driver whose peer is the test, by raw bytes. */
function rawPeer() {
  const [link, far] = memoryLinkPair();
  const heard: Buffer[] = [];
  const ends: string[] = [];
  const streams: TunnelStream[] = [];
  let closed = false;
  far.setHandler({
    handleMessage: (message) => void heard.push(Buffer.concat(message)),
    handleDrain() {},
    handleClose() {
      closed = true;
    },
  });
  const driver = new SessionDriver({
    mux: { ...DEFAULT_MUX_CONFIG, role: 'exit' },
    resume: DEFAULT_RESUME_CONFIG,
    replayMemory: new ReplayMemory(1024 * 1024),
    logger: silentLogger,
    acceptor: { handleOffer: (offer) => void streams.push(offer.accept()) },
    onEnd: (fault) => void ends.push(fault),
  });
  driver.attachLink(link, FIRST_LINK);
  far.send([NUMBERED, wire.hello()]);
  return { driver, far, heard, ends, streams, isClosed: () => closed };
}

describe('a session driver', () => {
  it('ends at once on a fault of the peer, tells it, and closes the link', async () => {
    const { far, heard, ends, isClosed } = rawPeer();
    await until(() => heard.length > 0);
    far.send([NUMBERED, frame(0x55, 0)]);
    await until(isClosed);
    expect(ends).toEqual(['bad-frame']);
    expect(heard.at(-1)?.subarray(-14)).toEqual(wire.goAway(1, 0));
  });

  it('ends at once when the peer ends the session', async () => {
    const { far, heard, ends, isClosed } = rawPeer();
    await until(() => heard.length > 0);
    far.send([NUMBERED, wire.goAway(11, 0)]);
    await until(isClosed);
    expect(ends).toEqual(['access-removed']);
  });

  it('holds a window received byte by byte in little more memory than its size', async () => {
    const { far, streams } = rawPeer();
    far.send([NUMBERED, wire.open(1)]);
    await until(() => streams.length === 1);
    const bytes = Buffer.from(Array.from({ length: 249_000 }, (_, index) => (index * 7) & 0xff));
    const { used: before } = await settledMemory();
    for (let at = 0; at < bytes.length; at += 3000) {
      const frames = Array.from(bytes.subarray(at, at + 3000), (byte) => wire.data(1, Uint8Array.of(byte)));
      far.send([NUMBERED, Buffer.concat(frames)]);
    }
    far.send([NUMBERED, wire.finish(1)]);
    await until(() => far.queuedBytes === 0);
    const held = (await settledMemory()).used - before;
    // A list of single bytes would take 300 times their number; collections of buffers come late.
    expect(held).toBeLessThan(16 * bytes.length);
    const chunks: Buffer[] = [];
    streams[0]!.on('data', (chunk: Buffer) => chunks.push(chunk));
    await new Promise((resolve) => streams[0]!.once('end', resolve));
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
  });

  it('keeps the order for a reader that pauses at any moment', async () => {
    const { far, streams } = rawPeer();
    far.send([NUMBERED, wire.open(1)]);
    await until(() => streams.length === 1);
    const [stream] = streams as [TunnelStream];
    const random = prng(1);
    const bytes = Buffer.from(Array.from({ length: 200_000 }, () => random.below(256)));
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (random.chance(0.5)) stream.pause();
    });
    for (let at = 0; at < bytes.length; ) {
      const end = at + 1 + random.below(4_000);
      far.send([NUMBERED, wire.data(1, bytes.subarray(at, end))]);
      at = end;
      if (random.chance(0.5)) await new Promise(setImmediate);
      if (random.chance(0.3)) stream.resume();
    }
    far.send([NUMBERED, wire.finish(1)]);
    await until(() => stream.resume().readableEnded);
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
  });

  it('lets a reader wait for more bytes than have come', async () => {
    const { far, streams } = rawPeer();
    far.send([NUMBERED, wire.open(1)]);
    await until(() => streams.length === 1);
    const [stream] = streams as [TunnelStream];
    stream.on('readable', () => {});
    far.send([NUMBERED, wire.data(1, Buffer.from('half'))]);
    await until(() => stream.readableLength === 4);
    expect(stream.read(8)).toBeNull();
    far.send([NUMBERED, wire.data(1, Buffer.from('half'))]);
    await until(() => stream.readableLength === 8);
    expect(String(stream.read(8))).toBe('halfhalf');
  });
});
