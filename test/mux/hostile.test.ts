/** Peers that break the rules: each limit one over, with the code that the peer is told, and nothing left behind. */
import { describe, expect, it } from 'vitest';
import { settledMemory } from '../../bench/memory.ts';
import { faultOfSessionCode } from '../../src/errors.ts';
import type { MuxConfig } from '../../src/mux/config.ts';
import { inside, kept, NOTHING } from '../support/mux/mux-internals.ts';
import { MuxPeer, TARGET } from '../support/mux/mux-peer.ts';
import { frame, wire } from '../support/mux/wire.ts';

const KIB = 1024;

/** The session is over with this code; the peer is told by one frame, and nothing is kept. */
function expectEnd(peer: MuxPeer, fault: string): void {
  expect(peer.ended).toBe(fault);
  const said = peer.frames();
  expect(said.map(([type, code]) => [type, faultOfSessionCode(Number(code))])).toEqual([['go-away', fault]]);
  for (const id of inside(peer.session).streams.unreleased) peer.session.release(id);
  expect(kept(peer.session)).toEqual(NOTHING);
  for (const { type } of peer.events.slice(peer.events.findIndex((event) => event.type === 'ended') + 1)) {
    throw new Error(`an event behind the end: ${type}`);
  }
}

function expectAlive(peer: MuxPeer): void {
  expect(peer.ended).toBeUndefined();
}

function dataEvents(peer: MuxPeer): number {
  return peer.events.filter(({ type }) => type === 'data').length;
}

describe('Violations by a client', () => {
  /** An exit with stream 1 open (credit 1,000 for it, one window for the peer), 3 offered, 5 closed. */
  function busyExit(config: Partial<MuxConfig> = {}): MuxPeer {
    const peer = MuxPeer.joined('exit', config);
    peer.accepted(1, 1000);
    peer.feed(wire.open(3), wire.open(5));
    peer.session.refuse(5, 'dial-refused');
    peer.session.release(5);
    peer.frames();
    return peer;
  }

  const faults: [what: string, frames: Buffer[], fault: string][] = [
    ['a second HELLO', [wire.hello()], 'bad-frame'],
    ['a frame of no type', [frame(0x20, 0)], 'bad-frame'],
    ['an id used again while it is open', [wire.open(1)], 'bad-stream-id'],
    ['an id used again after its end', [wire.open(5)], 'bad-stream-id'],
    ['an id that goes backwards', [wire.open(9), wire.open(7)], 'bad-stream-id'],
    ["an id of the exit's own parity", [wire.open(8)], 'bad-stream-id'],
    ['DATA for an id never opened', [wire.data(7, Buffer.from('x'))], 'bad-stream-id'],
    ['DATA for an id of ours, never opened', [wire.data(2, Buffer.from('x'))], 'bad-stream-id'],
    ['empty DATA for an id never opened', [wire.data(7, Buffer.alloc(0))], 'bad-stream-id'],
    ['CREDIT for an id never opened', [wire.credit(7, 4096)], 'bad-stream-id'],
    ['FINISH for an id never opened', [wire.finish(7)], 'bad-stream-id'],
    ['RESET for an id never opened', [wire.reset(7)], 'bad-stream-id'],
    ['OPENED for an id never opened', [wire.opened(2)], 'bad-stream-id'],
    ['OPEN_FAILED for an id never opened', [wire.openFailed(2, 32)], 'bad-stream-id'],
    ['DATA before the stream was accepted', [wire.data(3, Buffer.from('x'))], 'wrong-state'],
    ['FINISH before the stream was accepted', [wire.finish(3)], 'wrong-state'],
    ['CREDIT before the stream was accepted', [wire.credit(3, 4096)], 'wrong-state'],
    ["OPENED for the peer's own stream", [wire.opened(3)], 'wrong-state'],
    ["OPEN_FAILED for the peer's own stream", [wire.openFailed(1, 32)], 'wrong-state'],
    ['DATA behind FINISH', [wire.finish(1), wire.data(1, Buffer.from('x'))], 'wrong-state'],
    ['empty DATA behind FINISH', [wire.finish(1), wire.data(1, Buffer.alloc(0))], 'wrong-state'],
    ['a second FINISH', [wire.finish(1), wire.finish(1)], 'wrong-state'],
    ['a CREDIT of nothing', [wire.credit(1, 0)], 'credit-overflow'],
    ['a CREDIT of nothing for a closed stream', [wire.credit(5, 0)], 'credit-overflow'],
    ['a CREDIT of 2^31', [wire.credit(1, 2 ** 31)], 'credit-overflow'],
    ['a CREDIT of 2^32 - 1', [wire.credit(1, 0xffff_ffff)], 'credit-overflow'],
    ["yamux's 0xffff0000", [wire.credit(1, 0xffff_0000)], 'credit-overflow'],
    ['credit that adds up to 2^31', [wire.credit(1, 2 ** 31 - 1000)], 'credit-overflow'],
    ['an OPEN with 2^31 of credit', [wire.open(7, 2 ** 31)], 'credit-overflow'],
    ['DATA for a refused stream, which never had credit', [wire.data(5, Buffer.from('x'))], 'window-exceeded'],
    ['DATA larger than the first window', [wire.data(1, Buffer.alloc(16 * KIB + 1))], 'window-exceeded'],
  ];

  it.each(faults)('an exit ends the session on %s', (_what, frames, fault) => {
    const small = { initialWindowBytes: 16 * KIB };
    const peer = busyExit(small);
    peer.feed(...frames);
    expectEnd(peer, fault);
    expect(dataEvents(peer)).toBe(0);
    const slowly = busyExit(small);
    for (const byte of Buffer.concat(frames)) slowly.feed(Uint8Array.of(byte));
    expectEnd(slowly, fault);
  });

  it.each<[string, Buffer[]]>([
    ['the most credit there is', [wire.credit(1, 2 ** 31 - 1 - 1000)]],
    ['an OPEN with the most credit there is', [wire.open(7, 2 ** 31 - 1)]],
    ['an OPEN without credit', [wire.open(7, 0)]],
    ['ids with gaps', [wire.open(7), wire.open(2 ** 31 - 1)]],
    ['a whole window of DATA', Array.from({ length: 4 }, () => wire.data(1, Buffer.alloc(4 * KIB)))],
    ['DATA behind our FINISH', [wire.data(1, Buffer.from('x')), wire.finish(1)]],
    ['all that may cross a closing', [wire.credit(5, 4096), wire.reset(5), wire.finish(5), wire.opened(5)]],
  ])('an exit does not end the session on %s', (_what, frames) => {
    const peer = busyExit({ initialWindowBytes: 16 * KIB });
    peer.session.finish(1);
    peer.feed(...frames);
    expectAlive(peer);
  });

  it('an exit ends the session on the first byte beyond the window, in any pieces, and stores none of that frame', () => {
    const peer = busyExit({ initialWindowBytes: 16 * KIB });
    for (let sent = 0; sent < 16 * KIB; sent += 1000) {
      peer.feed(wire.data(1, Buffer.alloc(Math.min(1000, 16 * KIB - sent))));
    }
    expectAlive(peer);
    const stored = dataEvents(peer);
    peer.feed(frame(4, 1, Buffer.alloc(0), 1));
    expect(dataEvents(peer)).toBe(stored);
    expectEnd(peer, 'window-exceeded');
  });

  it('an exit ends the session on a window that is used again without new credit', () => {
    const peer = busyExit({ initialWindowBytes: 16 * KIB });
    peer.feed(wire.data(1, Buffer.alloc(16 * KIB)));
    peer.session.consume(1, 16 * KIB, 0);
    peer.feed(wire.data(1, Buffer.alloc(1)));
    expectEnd(peer, 'window-exceeded');
  });
});

describe('Violations by an exit', () => {
  function busyClient(): MuxPeer {
    const peer = MuxPeer.joined('client', { initialWindowBytes: 16 * KIB });
    peer.opened();
    peer.session.open(TARGET, 0);
    peer.frames();
    return peer;
  }

  it.each<[string, Buffer, string]>([
    ['OPENED twice', wire.opened(1), 'wrong-state'],
    ['OPEN_FAILED of an open stream', wire.openFailed(1, 32), 'wrong-state'],
    ['OPENED with 2^31 of credit', wire.opened(3, 2 ** 31), 'credit-overflow'],
    ['DATA before OPENED', wire.data(3, Buffer.from('x')), 'wrong-state'],
    ['FINISH before OPENED', wire.finish(3), 'wrong-state'],
    ['RESET before OPENED', wire.reset(3), 'wrong-state'],
    ['CREDIT before OPENED', wire.credit(3, 4096), 'wrong-state'],
    ['an OPEN of its own parity', wire.open(5), 'bad-stream-id'],
    ['first DATA larger than the window', wire.data(1, Buffer.alloc(16 * KIB + 1)), 'window-exceeded'],
  ])('a client ends the session on %s', (_what, bytes, fault) => {
    const peer = busyClient();
    peer.feed(bytes);
    expectEnd(peer, fault);
  });

  it('a client ends the session on more opens than it may refuse, and keeps nothing of the refused ones', () => {
    const refusalRate = { perSecond: 10, burst: 100 };
    const peer = MuxPeer.joined('client', { rapidResetRate: { perSecond: 0, burst: 0 }, refusalRate });
    for (let i = 1; i <= 100; i++) peer.feed(wire.open(2 * i));
    expect(peer.frames()).toEqual(Array.from({ length: 100 }, (_, i) => ['open-failed', 2 * (i + 1), 35]));
    expect(kept(peer.session)).toEqual(NOTHING);
    peer.now += 100;
    peer.feed(wire.open(202));
    expectAlive(peer);
    peer.frames();
    peer.feed(wire.open(204));
    expectEnd(peer, 'peer-flood');
  });
});

describe('Frames that were in flight at a reset', () => {
  it('after a reset, late DATA is accepted up to the credit that was left', () => {
    const peer = MuxPeer.joined('exit', { initialWindowBytes: 16 * KIB });
    for (const id of [1, 3]) peer.accepted(id);
    peer.feed(wire.data(1, Buffer.alloc(6 * KIB)));
    for (const id of [1, 3]) peer.session.reset(id, 'target-reset', peer.now);
    peer.frames();
    const before = dataEvents(peer);
    peer.feed(wire.data(1, Buffer.alloc(10 * KIB)), wire.data(3, Buffer.alloc(16 * KIB)));
    expectAlive(peer);
    expect(dataEvents(peer)).toBe(before);
    peer.feed(wire.data(3, Buffer.alloc(1)));
    expectEnd(peer, 'window-exceeded');
  });

  it('after a reset, the rest of a DATA frame is dropped', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1);
    const data = wire.data(1, Buffer.from('half and half'));
    peer.feed(data.subarray(0, 12));
    peer.session.reset(1, 'target-reset', peer.now);
    peer.feed(data.subarray(12), wire.open(3));
    expect(peer.eventsOf(1)).toEqual(['offer', 'data']);
    expect(peer.eventsOf(3)).toEqual(['offer']);
  });

  it('after a reset, any number of useful CREDITs is accepted: an honest reader of a fast stream has many in flight', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1);
    peer.session.reset(1, 'target-reset', peer.now);
    for (let i = 0; i < 5000; i++) peer.feed(wire.credit(1, 4096));
    expectAlive(peer);
  });

  it('after a reset of a thousand streams at once, three late frames are accepted for each', () => {
    const peer = MuxPeer.joined('exit', { noOpRate: { perSecond: 0, burst: 1000 } });
    const ids = Array.from({ length: 1000 }, (_, i) => 2 * i + 1);
    for (const id of ids) peer.accepted(id);
    for (const id of ids) peer.session.reset(id, 'target-reset', peer.now);
    peer.frames();
    for (const id of ids) peer.feed(wire.credit(id, 4096), wire.finish(id), wire.reset(id), wire.opened(id));
    expectAlive(peer);
  });

  it('after a refused open, the RESET of an opener that gave up meanwhile is accepted', () => {
    const peer = MuxPeer.joined('exit', { maxStreams: 1, noOpRate: { perSecond: 0, burst: 100 } });
    peer.accepted(1);
    for (let id = 3; id < 2003; id += 2) peer.feed(wire.open(id));
    for (let id = 3; id < 2003; id += 2) peer.feed(wire.reset(id));
    expectAlive(peer);
  });
});

describe('Floods', () => {
  const rate = { perSecond: 10, burst: 50 };
  const refusals = { rapidResetRate: { perSecond: 0, burst: 1 }, refusalRate: { perSecond: 10, burst: 49 } };
  const open = (count: number): Buffer => wire.open(2 * count + 1);
  const floods: [what: string, config: Partial<MuxConfig>, one: (count: number) => Buffer[]][] = [
    ['pings', { pingRate: rate }, () => [wire.ping()]],
    ['pongs without a ping', { pingRate: rate }, () => [wire.pong()]],
    ['empty DATA', { noOpRate: rate }, () => [wire.data(1, Buffer.alloc(0))]],
    ['unknown types', { noOpRate: rate }, () => [frame(0x90, 0, Buffer.from('?'))]],
    ['CREDIT of 255 bytes', { noOpRate: rate }, () => [wire.credit(1, 255)]],
    [
      'GO_AWAY behind the first',
      { noOpRate: rate },
      (n) => [wire.goAway(10, 0), ...(n === 1 ? [wire.goAway(10, 0)] : [])],
    ],
    ['opens beyond the rate of opens', { openRate: { perSecond: 0, burst: 1 }, ...refusals }, (n) => [open(n)]],
    ['opens to nowhere', refusals, (n) => [frame(1, 2 * n + 1, Buffer.from('0000000007030000ff', 'hex'))]],
    ['opens given up before an answer', refusals, (n) => [open(n), wire.reset(2 * n + 1)]],
  ];

  it.each(floods)('a flood of %s ends the session at the first one beyond the rate', (_what, config, one) => {
    const peer = MuxPeer.joined('exit', { ...config, maxControlFrames: 100_000 });
    peer.accepted(1);
    for (let count = 1; count <= 50; count++) peer.feed(...one(count));
    expectAlive(peer);
    peer.now += 99;
    expectAlive(peer);
    peer.now += 1;
    peer.feed(...one(51));
    expectAlive(peer);
    peer.feed(...one(52));
    expectEnd(peer, 'peer-flood');
  });

  it('a flood of frames for closed streams ends the session, beyond the three that may have been in flight', () => {
    const peer = MuxPeer.joined('exit', { noOpRate: rate });
    peer.accepted(1);
    peer.feed(wire.reset(1));
    for (let i = 0; i < 53; i++) peer.feed(wire.finish(1));
    expectAlive(peer);
    peer.feed(wire.finish(1));
    expectEnd(peer, 'peer-flood');
  });

  it('CREDIT of 256 bytes is never a flood', () => {
    const peer = MuxPeer.joined('exit', { noOpRate: rate });
    peer.accepted(1, 0);
    for (let i = 0; i < 1000; i++) peer.feed(wire.credit(1, 256));
    expectAlive(peer);
  });
});

describe('A peer that does not read', () => {
  it('a peer that does not read can make a session keep only eight pongs', () => {
    const peer = MuxPeer.joined('exit', { pingRate: { perSecond: 0, burst: 10_000 } });
    for (let i = 0; i < 10_000; i++) peer.feed(wire.ping(Buffer.from(String(i).padStart(8))));
    expect(kept(peer.session)).toEqual({ ...NOTHING, pongs: 8 });
    expect(peer.frames().map(([, hex]) => Buffer.from(String(hex), 'hex').toString().trim())).toEqual([
      '9992',
      '9993',
      '9994',
      '9995',
      '9996',
      '9997',
      '9998',
      '9999',
    ]);
  });

  it('a peer that does not read ends the session when the control queue is full, even if no record is polled', () => {
    const peer = MuxPeer.joined('exit', { maxStreams: 10, maxControlFrames: 30 });
    peer.accepted(1);
    for (let id = 3; !peer.ended; id += 2) {
      peer.feed(wire.open(id));
      expect(kept(peer.session).control).toBeLessThanOrEqual(30);
      peer.session.refuse(id, 'dial-refused');
      peer.session.release(id);
    }
    expectEnd(peer, 'peer-flood');
  });

  it('for a peer that does not read, a session keeps credit as one number a stream', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1);
    peer.frames();
    for (let i = 0; i < 64; i++) {
      peer.feed(wire.data(1, Buffer.alloc(4 * KIB)));
      peer.session.consume(1, 4 * KIB, 0);
    }
    const { credit, control } = kept(peer.session);
    expect({ credit, control }).toEqual({ credit: 1, control: 0 });
    expect(peer.frames().map(([type]) => type)).toEqual(['credit']);
  });
});

describe('Memory and dials after hostile opens', () => {
  it('100,000 refused opens leave nothing, and the heap does not grow', async () => {
    const many = { perSecond: 1e9, burst: 1e9 };
    const peer = MuxPeer.joined('exit', { maxStreams: 1, openRate: many, rapidResetRate: many });
    peer.accepted(1);
    peer.frames();
    const baseline = kept(peer.session);
    let afterWarmUp = 0;
    for (let i = 1; i <= 100_000; i++) {
      peer.session.handleRecord(wire.open(2 * i + 1), i);
      if (i % 100 > 0) continue;
      while (peer.session.pollRecord(i)) {
        // The answers go out and are forgotten.
      }
      if (i === 20_000) afterWarmUp = (await settledMemory()).used;
    }
    expect((await settledMemory()).used - afterWarmUp).toBeLessThan(1024 * KIB);
    expect(kept(peer.session)).toEqual(baseline);
    expect(peer.session.isOver).toBe(false);
  });

  it('100,000 opens that the owner refused leave nothing', () => {
    const many = { perSecond: 1e9, burst: 1e9 };
    const peer = MuxPeer.joined('exit', { openRate: many });
    for (let i = 1; i <= 100_000; i++) {
      const id = 2 * i + 1;
      peer.session.handleRecord(wire.open(id), i);
      peer.session.refuse(id, 'dial-refused');
      peer.session.release(id);
      peer.session.pollRecord(i);
      peer.takeEvents();
      peer.events.length = 0;
    }
    expect(kept(peer.session)).toEqual(NOTHING);
  });

  it('a rapid reset frees no slot before its dial is gone, so resets give no more dials than streams', () => {
    const peer = MuxPeer.joined('exit', { maxStreams: 100 });
    for (let i = 0; i < 100_000 && !peer.session.isOver; i++) {
      peer.feed(wire.open(2 * i + 1), wire.reset(2 * i + 1));
      peer.record();
    }
    expect(peer.events.filter(({ type }) => type === 'offer').length).toBe(100);
    expect(peer.ended).toBe('peer-flood');
    expect(inside(peer.session).streams.unreleased.size).toBe(100);
  });

  it('10,000 opens and resets in a second are refused beyond the rapid-reset rate, and do not end the session', () => {
    const peer = churned(10_000, 10);
    expect(peer.ended).toBeUndefined();
    const offers = peer.events.filter(({ type }) => type === 'offer').length;
    expect(offers).toBeGreaterThanOrEqual(4096);
    expect(offers).toBeLessThanOrEqual(4096 + 400);
  });

  it('100,000 opens and resets in a second end the session by the default limits', () => {
    expect(churned(100_000, 100).ended).toBe('peer-flood');
  });

  it('900 opens and resets a second never end the session', () => {
    expect(churned(50_000, 0.9).ended).toBeUndefined();
  });
});

/** So many streams are opened and given up, `perMs` each ms. */
function churned(streams: number, perMs: number): MuxPeer {
  const peer = MuxPeer.joined('exit', { pingRate: { perSecond: 1e6, burst: 1e6 } });
  for (let i = 0; i < streams && !peer.session.isOver; i++) {
    peer.now = i / perMs;
    peer.feed(wire.open(2 * i + 1), wire.reset(2 * i + 1));
    peer.session.release(2 * i + 1);
    peer.record();
  }
  return peer;
}
