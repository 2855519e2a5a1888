import { describe, expect, it } from 'vitest';
import { DEFAULT_MUX_CONFIG, type MuxConfig } from '../../src/mux/config.ts';
import { MuxSession } from '../../src/mux/session.ts';
import { kept, NOTHING } from '../support/mux/mux-internals.ts';
import { MuxPeer, TARGET } from '../support/mux/mux-peer.ts';
import { wire } from '../support/mux/wire.ts';

const { pingIntervalMs, silenceLimitMs } = DEFAULT_MUX_CONFIG;

/** As a driver does it: sleeps until the session's own time, as often as it asks. */
function sleepUntil(peer: MuxPeer, time: number): void {
  while (peer.session.nextTimeout() <= time) {
    peer.now = Math.max(peer.now, peer.session.nextTimeout());
    peer.session.handleTimeout(peer.now);
    peer.takeEvents();
  }
  peer.now = time;
}

function pings(peer: MuxPeer): string[] {
  return peer
    .frames()
    .filter(([type]) => type === 'ping')
    .map(([, opaque]) => String(opaque));
}

describe('Liveness', () => {
  it('a session pings at once, then at intervals', () => {
    const peer = new MuxPeer('exit');
    peer.feed(wire.hello());
    expect(pings(peer).length).toBe(1);
    for (let i = 1; i <= 10; i++) {
      sleepUntil(peer, i * pingIntervalMs - 1);
      expect(pings(peer)).toEqual([]);
      sleepUntil(peer, i * pingIntervalMs);
      expect(pings(peer).length).toBe(1);
      peer.feed(wire.pong());
    }
  });

  it('while no stream is open, an exit that is pinged sends no pings of its own', () => {
    const peer = new MuxPeer('exit');
    peer.feed(wire.hello());
    pings(peer);
    for (let i = 1; i <= 10; i++) {
      sleepUntil(peer, i * (pingIntervalMs - 1_000));
      peer.feed(wire.ping());
      expect(pings(peer)).toEqual([]);
    }
    sleepUntil(peer, peer.now + pingIntervalMs - 1);
    expect(pings(peer)).toEqual([]);
    sleepUntil(peer, peer.now + 1);
    expect(pings(peer).length).toBe(1);
  });

  it('while a stream is open, an exit that is pinged measures the path by its own pings, too', () => {
    const peer = new MuxPeer('exit');
    peer.feed(wire.hello(), wire.open(1));
    pings(peer);
    sleepUntil(peer, pingIntervalMs - 1_000);
    peer.feed(wire.ping());
    sleepUntil(peer, pingIntervalMs);
    expect(pings(peer).length).toBe(1);
  });

  it('a client that is pinged sends its own nevertheless, a little sooner than an exit would', () => {
    const peer = new MuxPeer('client');
    peer.feed(wire.hello());
    pings(peer);
    sleepUntil(peer, pingIntervalMs - 2_000);
    peer.feed(wire.ping());
    sleepUntil(peer, pingIntervalMs - 1_000);
    expect(pings(peer).length).toBe(1);
  });

  it('a session keeps no more memory for its hundredth ping than for its second', () => {
    const peer = new MuxPeer('client');
    peer.feed(wire.hello());
    pings(peer);
    const pingAt = (time: number): ArrayBufferLike | undefined => {
      sleepUntil(peer, time);
      peer.feed(wire.pong());
      const record = peer.session.pollRecord(peer.now);
      expect(peer.session.pollRecord(peer.now)).toBeUndefined();
      return record?.[0]?.buffer;
    };
    const second = pingAt(pingIntervalMs)?.byteLength;
    for (let i = 2; i < 100; i++) pingAt(i * pingIntervalMs);
    expect(pingAt(100 * pingIntervalMs)?.byteLength).toBe(second);
  });

  it('a session measures the round trip only by the answer to the latest ping', () => {
    const peer = new MuxPeer('client');
    peer.feed(wire.hello());
    const [first] = pings(peer);
    sleepUntil(peer, pingIntervalMs);
    const [second] = pings(peer);
    peer.now += 7;
    peer.feed(wire.pong(Buffer.from(first!, 'hex')));
    expect(peer.session.roundTripMs).toBeUndefined();
    peer.now += 5;
    peer.feed(wire.pong(Buffer.from(second!, 'hex')));
    expect(peer.session.roundTripMs).toBe(12);
    peer.feed(wire.pong(Buffer.from(second!, 'hex')), wire.pong());
    expect(peer.session.roundTripMs).toBe(12);
  });

  it('a session answers every ping with its bytes', () => {
    const peer = MuxPeer.joined('exit');
    peer.feed(wire.ping(Buffer.from('12345678')), wire.ping(Buffer.from('abcdefgh')));
    expect(peer.frames()).toEqual([
      ['pong', '3132333435363738'],
      ['pong', '6162636465666768'],
    ]);
  });

  it('a link is dead after silence, to the millisecond, and the session waits for the next link', () => {
    const peer = MuxPeer.joined('client');
    const id = peer.opened();
    sleepUntil(peer, silenceLimitMs - 1);
    expect(peer.session.liveness.isDead(peer.now)).toBe(false);
    sleepUntil(peer, silenceLimitMs);
    expect(peer.session.liveness.isDead(peer.now)).toBe(true);
    peer.session.handleDetached();
    expect(peer.session.liveness.isDead(peer.now)).toBe(false);
    expect(peer.session.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
    sleepUntil(peer, 10 * silenceLimitMs);
    peer.session.handleAttached(peer.now);
    expect(peer.session.liveness.isDead(peer.now)).toBe(false);
    expect(pings(peer).length).toBe(1);
    expect(peer.eventsOf(id)).toEqual(['opened']);
  });

  it('any byte of the peer ends its silence', () => {
    const peer = MuxPeer.joined('client');
    const frame = wire.pong();
    for (let i = 0; i < frame.length; i++) {
      sleepUntil(peer, peer.now + silenceLimitMs - 1);
      peer.feed(frame.subarray(i, i + 1));
      expect(peer.session.liveness.isDead(peer.now)).toBe(false);
    }
  });

  it('while a full link delays a ping, the timer does not fire again', () => {
    const peer = MuxPeer.joined('client');
    let wakings = 0;
    for (let time = 0; time < 10 * pingIntervalMs; time = peer.session.nextTimeout()) {
      peer.now = time;
      peer.feed(wire.pong());
      peer.session.handleTimeout(time);
      wakings += 1;
    }
    expect(wakings).toBeLessThanOrEqual(11);
    expect(pings(peer).length).toBe(1);
  });
});

describe('GO_AWAY of a peer that shuts down', () => {
  it('GO_AWAY of a peer that shuts down fails only the opens that it did not see', () => {
    const peer = MuxPeer.joined('client');
    const live = peer.opened();
    const ids = [1, 2, 3]
      .map(() => peer.session.open(TARGET, 0))
      .map((answer) => ('stream' in answer ? answer.stream : 0));
    peer.frames();
    peer.feed(wire.goAway(10, ids[0]!));
    expect(ids.map((id) => peer.eventsOf(id))).toEqual([[], ['open-failed'], ['open-failed']]);
    expect(peer.events.at(-1)).toEqual({ type: 'open-failed', stream: ids[2], fault: 'shutting-down' });
    expect(peer.session.open(TARGET, 0)).toEqual({ refused: 'shutting-down' });
    peer.feed(wire.opened(ids[0]!), wire.data(live, Buffer.from('on')), wire.finish(live));
    expect(peer.eventsOf(live)).toEqual(['opened', 'data', 'finish']);
    expect(peer.eventsOf(ids[0]!)).toEqual(['opened']);
    expect(peer.ended).toBeUndefined();
  });

  it('GO_AWAY of a peer that shuts down retracts opens that were not sent yet', () => {
    const peer = MuxPeer.joined('client');
    peer.session.open(TARGET, 0);
    peer.feed(wire.goAway(10, 0));
    expect(peer.frames()).toEqual([]);
    expect(kept(peer.session)).toEqual(NOTHING);
  });

  it('after our own GO_AWAY, opens that were in flight are refused', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1);
    peer.session.drain();
    peer.session.drain();
    peer.feed(wire.open(3));
    expect(peer.frames()).toEqual([
      ['opened', 1, 262_144],
      ['go-away', 10, 1],
      ['open-failed', 3, 10],
    ]);
    peer.session.finish(1);
    peer.feed(wire.finish(1));
    peer.frames();
    expect(peer.session.isIdle).toBe(false);
    peer.session.release(1);
    expect(peer.session.isIdle).toBe(true);
  });
});

describe('The end of a session', () => {
  function busyExit(): MuxPeer {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1);
    peer.feed(wire.open(3), wire.data(1, Buffer.from('x')), wire.ping());
    peer.session.write(1, Buffer.alloc(1000));
    return peer;
  }

  const ends: [how: string, end: (peer: MuxPeer) => void, says: unknown[], fault: string][] = [
    ['by our own fault', ({ session }) => session.fail('access-removed'), [['go-away', 11, 3]], 'access-removed'],
    ['by a lost link', ({ session }) => session.handleLinkLost('link-lost'), [], 'link-lost'],
    ['by the peer', (peer) => peer.feed(wire.goAway(11, 0)), [], 'access-removed'],
    ['by the peer, with a code that we do not know', (peer) => peer.feed(wire.goAway(999, 0)), [], 'session-closed'],
    ['by the peer, with a code that is for streams', (peer) => peer.feed(wire.goAway(32, 0)), [], 'session-closed'],
    ['by a fault of the peer', (peer) => peer.feed(wire.finish(5)), [['go-away', 3, 3]], 'bad-stream-id'],
  ];

  it.each(ends)(
    'a session ends %s: each stream gets one event, nothing else is sent, and nothing is kept',
    (_how, end, says, fault) => {
      const peer = busyExit();
      end(peer);
      peer.session.fail('internal');
      peer.session.handleLinkLost('link-lost');
      peer.session.drain();
      peer.feed(wire.open(9), wire.data(1, Buffer.from('y')), wire.ping());
      peer.session.write(1, Buffer.from('z'));
      peer.session.reset(1, 'target-reset', peer.now);
      peer.session.refuse(3, 'dial-refused');
      expect(peer.session.accept(3, 0)).toBe(false);
      expect(peer.frames()).toEqual(says);
      expect(peer.eventsOf(1)).toEqual(['offer', 'data', 'reset']);
      expect(peer.eventsOf(3)).toEqual(['offer', 'cancelled']);
      expect(peer.events.at(-1)).toEqual({ type: 'ended', fault });
      expect(peer.events.filter(({ type }) => type === 'ended').length).toBe(1);
      expect(peer.session.open(TARGET, 0)).toEqual({ refused: 'shutting-down' });
      for (const id of [1, 3]) peer.session.release(id);
      expect(kept(peer.session)).toEqual(NOTHING);
    },
  );

  it.each([10, 11])('after GO_AWAY %i in the middle of a record, only a shutdown lets the rest be handled', (code) => {
    const peer = MuxPeer.joined('exit');
    peer.feed(wire.goAway(code, 0), wire.open(1), wire.open(3));
    expect(peer.events.map(({ type }) => type)).toEqual(code === 11 ? ['ended'] : ['peer-draining', 'offer', 'offer']);
  });

  it('a session that fails before anything was sent still begins with HELLO, so that the peer can read the reason', () => {
    const peer = new MuxPeer('client');
    peer.session.open(TARGET, 0);
    peer.session.fail('shutting-down');
    expect(peer.frames()).toEqual([
      ['hello', 1, 1024, 31],
      ['go-away', 10, 0],
    ]);
  });

  it('a session sends GO_AWAY if the peer speaks another version', () => {
    const peer = new MuxPeer('exit');
    peer.feed(wire.hello(64, 2));
    expect(peer.ended).toBe('bad-version');
    expect(peer.frames().at(-1)).toEqual(['go-away', 2, 0]);
  });
});

describe('Limits that contradict each other', () => {
  it.each<[string, Partial<MuxConfig>]>([
    ['a window that would be granted in no-op frames', { minWindowBytes: 1023 }],
    ['an initial window below the least', { initialWindowBytes: 16_383 }],
    ['an initial window above the largest', { initialWindowBytes: 5 * 1024 * 1024 }],
    ['a window beyond the largest credit', { maxWindowBytes: 2 ** 31 }],
    ['a send queue below its least', { maxSendQueueBytes: 1024 }],
    ['DATA without room for a byte', { maxDataBytes: 0 }],
    ['DATA that no record holds', { maxDataBytes: 65_512 }],
    ['no streams', { maxStreams: 0 }],
    ['more streams than 65,536', { maxStreams: 65_537, maxControlFrames: 1_000_000 }],
    ['more streams than the control queue can answer', { maxStreams: 1366 }],
  ])('limits are rejected with %s', (_what, config) => {
    const make = () => new MuxSession({ ...DEFAULT_MUX_CONFIG, ...config, role: 'exit' }, 0);
    expect(make).toThrow(RangeError);
    for (const [field, value] of Object.entries(config).slice(0, 1)) expect(make).toThrow(`${field} (${value})`);
  });

  it('the error of contradicting multiplexer limits names both fields with their values', () => {
    const config = { ...DEFAULT_MUX_CONFIG, role: 'exit' as const, maxSendQueueBytes: 1024 };
    expect(() => new MuxSession(config, 0)).toThrow(
      'minSendQueueBytes (32768) must be at most maxSendQueueBytes (1024)',
    );
  });
});
