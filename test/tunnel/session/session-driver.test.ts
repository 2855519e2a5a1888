import { describe, expect, it } from 'vitest';
import { settledMemory } from '../../../bench/memory.ts';
import { WstunError } from '../../../src/errors.ts';
import { watchMemory } from '../../../src/memory/pieces.ts';
import { DEFAULT_MUX_CONFIG } from '../../../src/mux/config.ts';
import { DEFAULT_RESUME_CONFIG } from '../../../src/mux/links/resume-config.ts';
import { RetransmitMemory } from '../../../src/mux/links/retransmit-store.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { decodeRecordHeader, encodeRecordHeader } from '../../../src/protocol/record-header.ts';
import { SessionDriver } from '../../../src/tunnel/session/session-driver.ts';
import type { TunnelStream } from '../../../src/tunnel/stream/stream.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { poison } from '../../support/memory/poison.ts';
import { FIRST_LINK } from '../../support/mux/session-pairs.ts';
import { frame, wire } from '../../support/mux/wire.ts';
import { never } from '../../support/never.ts';
import { prng } from '../../support/prng.ts';
import { atEnd } from '../../support/scope.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';
import { until } from '../../support/until.ts';

const NUMBERED = encodeRecordHeader({ isNumbered: true, mayWait: false, acknowledged: undefined });

/** An exit's driver whose peer is the test, by raw bytes. */
function rawPeer(clock?: VirtualClock) {
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
  const driver = new SessionDriver(
    {
      mux: { ...DEFAULT_MUX_CONFIG, role: 'exit' },
      resume: DEFAULT_RESUME_CONFIG,
      replayMemory: new RetransmitMemory(1024 * 1024),
      logger: silentLogger,
      clock,
      acceptor: { handleOffer: (offer) => void streams.push(offer.accept()) },
    },
    { onEnd: (fault) => void ends.push(fault) },
  );
  driver.attachLink(link, FIRST_LINK);
  far.send([NUMBERED, wire.hello()]);
  return { driver, far, heard, ends, streams, isClosed: () => closed };
}

/** A client's link whose exit is the test: it acknowledges each numbered record. */
function leavingExit() {
  const [link, far] = memoryLinkPair();
  let position = 0;
  const exit = { link, far, heardLeaving: false, isClosed: false };
  far.setHandler({
    handleMessage: (message) => {
      const decoded = decodeRecordHeader(message);
      if (decoded?.header.isNumbered !== true) return;
      position += 1;
      exit.heardLeaving ||= decoded.header.isLast === true;
      far.send([encodeRecordHeader({ isNumbered: false, mayWait: false, acknowledged: { position, receivedUs: 0 } })]);
    },
    handleDrain() {},
    handleClose() {
      exit.isClosed = true;
    },
  });
  return exit;
}

describe('SessionDriver', () => {
  it('a client keeps one link where the exit leaves all of them at once', async () => {
    const driver = new SessionDriver(
      {
        mux: { ...DEFAULT_MUX_CONFIG, role: 'client' },
        resume: DEFAULT_RESUME_CONFIG,
        replayMemory: new RetransmitMemory(1024 * 1024),
        logger: silentLogger,
      },
      { onEnd() {} },
    );
    const [first, second] = [leavingExit(), leavingExit()];
    driver.attachLink(first.link, FIRST_LINK);
    first.far.send([NUMBERED, wire.hello(1024, 1, 3)]);
    await until(() => driver.canJoin);
    expect(driver.joinLink(second.link, 0)).toBe(true);
    const header = { isNumbered: true, mayWait: false, isLast: true, acknowledged: undefined };
    const placements = [2, 3].map((number) => ({ number, floor: 1, followed: [] }));
    for (const [index, { far }] of [first, second].entries())
      far.send([encodeRecordHeader({ ...header, placement: placements[index] })]);
    await until(() => first.heardLeaving && second.heardLeaving);
    await until(() => driver.linkCount < 2);
    expect([driver.linkCount, driver.isAttached]).toEqual([1, true]);
    driver.dropLinks();
  });

  it('SessionDriver ends at once on a fault of the peer, tells the peer, and closes the link', async () => {
    const { far, heard, ends, isClosed } = rawPeer();
    await until(() => heard.length > 0);
    far.send([NUMBERED, frame(0x55, 0)]);
    await until(isClosed);
    expect(ends).toEqual(['bad-frame']);
    expect(heard.at(-1)?.subarray(-14)).toEqual(wire.goAway(1, 0));
  });

  it('SessionDriver ends at once when the peer ends the session', async () => {
    const { far, heard, ends, isClosed } = rawPeer();
    await until(() => heard.length > 0);
    far.send([NUMBERED, wire.goAway(11, 0)]);
    await until(isClosed);
    expect(ends).toEqual(['access-removed']);
  });

  it('SessionDriver holds a window received byte by byte in little more memory than its size', async () => {
    // Whoever watches memory needs more of it.
    watchMemory(undefined);
    atEnd(() => watchMemory(poison));
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

  it('SessionDriver keeps the order of bytes for a reader that pauses at any moment', async () => {
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

  it('SessionDriver lets a reader wait for more bytes than were received', async () => {
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

/** In virtual time: an exit's driver with one stream, to which all is said that a new link has to say. */
async function quietPeer() {
  const clock = new VirtualClock();
  const { driver, far, heard } = rawPeer(clock);
  far.send([NUMBERED, wire.open(1)]);
  await clock.advance(100);
  heard.length = 0;
  return { clock, driver, far, heard, idleTimers: clock.timers };
}

const MAY_WAIT = encodeRecordHeader({ isNumbered: true, mayWait: true, acknowledged: undefined });
const BYTE = wire.data(1, Uint8Array.of(1));

describe('a delayed acknowledgement', () => {
  it('a delayed acknowledgement has one timer, is sent alone after 10 ms, and leaves no timer', async () => {
    const { clock, far, heard, idleTimers } = await quietPeer();
    for (let i = 0; i < 3; i++) {
      far.send([MAY_WAIT, BYTE]);
      await clock.advance(3);
      expect(clock.timers).toBe(idleTimers + 1);
    }
    expect(heard).toEqual([]);
    await clock.advance(1);
    expect([heard.length, clock.timers]).toEqual([1, idleTimers]);
    await clock.advance(500);
    expect([heard.length, clock.timers]).toEqual([1, idleTimers]);
    far.send([MAY_WAIT, BYTE]);
    await clock.advance(10);
    expect([heard.length, clock.timers]).toEqual([2, idleTimers]);
  });

  it('a delayed acknowledgement is sent earlier, by one timer that replaces the other, where another record needs that', async () => {
    const { clock, far, heard, idleTimers } = await quietPeer();
    far.send([NUMBERED, BYTE]);
    await clock.advance(0);
    expect(heard.length).toBe(1);
    far.send([MAY_WAIT, BYTE]);
    await clock.advance(0);
    far.send([NUMBERED, BYTE]);
    await clock.advance(0);
    expect([heard.length, clock.timers]).toEqual([1, idleTimers + 1]);
    await clock.advance(1);
    expect([heard.length, clock.timers]).toEqual([2, idleTimers]);
  });

  it('a delayed acknowledgement leaves no timer after the end of the session', async () => {
    const { clock, driver, far, idleTimers } = await quietPeer();
    far.send([MAY_WAIT, BYTE]);
    await clock.advance(0);
    expect(clock.timers).toBe(idleTimers + 1);
    driver.end('shutting-down');
    await clock.advance(0);
    expect(clock.timers).toBe(0);
  });
});

/** A client's driver whose exit says HELLO, and acknowledges where it `acknowledges`; it opens no stream. */
function silentExit(clock: VirtualClock, acknowledges: boolean) {
  const driver = new SessionDriver(
    {
      mux: { ...DEFAULT_MUX_CONFIG, role: 'client' },
      resume: DEFAULT_RESUME_CONFIG,
      replayMemory: new RetransmitMemory(1024 * 1024),
      logger: silentLogger,
      clock,
    },
    { onEnd() {} },
  );
  let count = 0;
  const attach = (): void => {
    const [link, far] = memoryLinkPair();
    far.setHandler({
      handleMessage: (message) => {
        const isNumbered = (Buffer.concat(message)[0] ?? 0) & 2 ? 0 : 1;
        count += isNumbered;
        if (!acknowledges || isNumbered === 0) return;
        far.send([
          encodeRecordHeader({ isNumbered: false, mayWait: false, acknowledged: { position: count, receivedUs: 0 } }),
        ]);
      },
      handleDrain() {},
      handleClose() {},
    });
    driver.attachLink(link, { peerReceived: count, saidReceived: driver.received });
    if (count === 0) far.send([NUMBERED, wire.hello()]);
  };
  attach();
  /** How an open fails, and after how many seconds. */
  const open = async (): Promise<[fault: string, seconds: number]> => {
    const since = clock.now();
    const error = await driver
      .open({ kind: 'name', name: 'example.org', port: 80 }, never)
      .catch((reason: unknown) => reason);
    return [error instanceof WstunError ? error.fault : String(error), (clock.now() - since) / 1000];
  };
  return { driver, attach, open };
}

describe('a stream that the exit neither opens nor refuses', () => {
  it('SessionDriver blames the link for an open after 10 s without one or on a frozen one, and the target after 20 s', async () => {
    const clock = new VirtualClock();
    const [frozen, lost, changed, alive] = [
      silentExit(clock, false),
      silentExit(clock, true),
      silentExit(clock, true),
      silentExit(clock, true),
    ] as const;
    const opens = [frozen, lost, changed, alive].map(({ open }) => open());
    // Behind the OPEN.
    await clock.advance(200);
    for (const { driver } of [lost, changed]) driver.dropLinks();
    changed.attach();
    const outcomes = await clock.run(Promise.all(opens));
    expect(outcomes.map(([fault]) => fault)).toEqual(['not-connected', 'not-connected', 'link-lost', 'dial-timed-out']);
    for (const [, seconds] of outcomes.slice(0, 2)) {
      expect(seconds).toBeGreaterThan(9.9);
      expect(seconds).toBeLessThan(18);
    }
    for (const [, seconds] of outcomes.slice(2)) expect(seconds).toBe(20);
    for (const { driver } of [frozen, lost, changed, alive]) driver.end('session-closed');
  });

  it('SessionDriver gives up an unanswered open at once when it is told to cancel opens', async () => {
    const { driver, open } = silentExit(new VirtualClock(), true);
    const opened = open();
    driver.cancelOpens('not-connected');
    expect((await opened)[0]).toBe('not-connected');
    driver.end('session-closed');
  });
});

/** A client's driver that may give up three opens, and then one a second. The test is its exit, and hears the targets. */
function waitingOpens(clock: VirtualClock) {
  const [link, far] = memoryLinkPair();
  const targets: string[] = [];
  far.setHandler({
    handleMessage(message) {
      const text = Buffer.concat(message).toString('latin1');
      for (const [name] of text.matchAll(/(?:live|new|silent)\.test/g)) targets.push(name);
    },
    handleDrain() {},
    handleClose() {},
  });
  const driver = new SessionDriver(
    {
      mux: { ...DEFAULT_MUX_CONFIG, role: 'client', ownRapidResetRate: { burst: 3, perSecond: 1 } },
      resume: DEFAULT_RESUME_CONFIG,
      replayMemory: new RetransmitMemory(1024 * 1024),
      logger: silentLogger,
      clock,
    },
    { onEnd() {} },
  );
  driver.attachLink(link, FIRST_LINK);
  far.send([NUMBERED, wire.hello()]);
  const open = (name: string, signal = never) => driver.open({ kind: 'name', name, port: 80 }, signal);
  return { driver, far, targets, open };
}

describe('streams that wait because many opens were given up', () => {
  it('SessionDriver opens waiting streams to targets that answered lately before those to others', async () => {
    const clock = new VirtualClock();
    const { driver, far, targets, open } = waitingOpens(clock);
    const first = open('live.test');
    await clock.advance(100);
    far.send([NUMBERED, wire.opened(1)]);
    await clock.run(first);
    const givenUp = new AbortController();
    const silent = [1, 2, 3].map(() => open('silent.test', givenUp.signal));
    await clock.advance(100);
    givenUp.abort();
    const outcomes = await Promise.allSettled(silent);
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    targets.length = 0;
    const waiting = Promise.allSettled([open('silent.test'), open('new.test'), open('live.test')]);
    await clock.advance(4_000);
    expect(targets).toEqual(['live.test', 'new.test', 'silent.test']);
    driver.end('session-closed');
    await waiting;
  });
});
