/**
 * The reset of a socket comes behind the bytes that came before it (docs/protocol.md §7); any other reset acts at once.
 */
import { describe, expect, it } from 'vitest';
import type { LoggedFrame } from '../support/mux/frame-log.ts';
import { kept, NOTHING } from '../support/mux/mux-internals.ts';
import { MuxPeer, TARGET } from '../support/mux/mux-peer.ts';
import { wire } from '../support/mux/wire.ts';

const KIB = 1024;
const CREDIT = 8 * KIB;
const WAIT_MS = 30_000;

/** Those about streams, payloads left out. */
function framesOf(peer: MuxPeer): LoggedFrame[] {
  return peer.frames().filter(([type]) => !['payload', 'ping', 'pong'].includes(String(type)));
}

/** A stream with more to send than its credit, whose owner has let go. */
function resetWith(queued: number, fault: 'target-reset' | 'quota-used' = 'target-reset'): MuxPeer {
  const peer = MuxPeer.joined('exit');
  peer.accepted(1, CREDIT);
  framesOf(peer);
  peer.session.write(1, Buffer.alloc(queued));
  peer.session.reset(1, fault, peer.now);
  return peer;
}

describe('The reset of a socket', () => {
  it('RESET of a socket is sent after all that is queued, as credit allows', () => {
    const peer = resetWith(CREDIT + 5 * KIB);
    expect(framesOf(peer)).toEqual([['data', 1, CREDIT]]);
    peer.feed(wire.credit(1, 4 * KIB));
    expect(framesOf(peer)).toEqual([['data', 1, 4 * KIB]]);
    peer.feed(wire.credit(1, 4 * KIB));
    expect(framesOf(peer)).toEqual([
      ['data', 1, KIB],
      ['reset', 1, 42],
    ]);
    peer.session.release(1);
    expect(kept(peer.session)).toEqual(NOTHING);
  });

  it('RESET is sent at once if nothing is queued, or if the fault drops what is queued', () => {
    expect(framesOf(resetWith(0))).toEqual([['reset', 1, 42]]);
    expect(framesOf(resetWith(5, 'quota-used'))).toEqual([['reset', 1, 44]]);
  });

  it('RESET is sent after FINISH if the socket had ended before it was reset', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1, 0);
    peer.session.write(1, Buffer.alloc(5));
    peer.session.finish(1);
    peer.session.reset(1, 'target-reset', 0);
    framesOf(peer);
    peer.feed(wire.credit(1, 4 * KIB));
    expect(framesOf(peer)).toEqual([
      ['data', 1, 5],
      ['finish', 1],
      ['reset', 1, 42],
    ]);
  });

  it('RESET waits for the next record if a record has no room after the data', () => {
    const peer = resetWith(1000);
    for (let records = 0; records < 10; records++) {
      const record = peer.record(512);
      if (record === undefined) break;
      expect(record.length).toBeLessThanOrEqual(512);
    }
    expect(kept(peer.session).streams).toBe(0);
  });

  it('while RESET waits, what the peer sends is dropped, and credit is granted for it: the peer may read only after it has written all', () => {
    const peer = resetWith(CREDIT + 1);
    framesOf(peer);
    for (let i = 0; i < 4; i++) peer.feed(wire.data(1, Buffer.alloc(50 * KIB)));
    expect(peer.eventsOf(1)).toEqual(['offer']);
    expect(framesOf(peer)).toContainEqual(['credit', 1, expect.any(Number)]);
    peer.feed(wire.finish(1));
    expect(peer.eventsOf(1)).toEqual(['offer']);
    expect(peer.ended).toBeUndefined();
  });

  it('the reset of a socket drops what its owner has not consumed', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1, 0);
    peer.feed(wire.data(1, Buffer.alloc(5000)));
    const before = kept(peer.session).committed;
    peer.session.write(1, Buffer.alloc(1));
    peer.session.reset(1, 'target-reset', 0);
    expect(kept(peer.session).committed).toBe(before - 5000);
  });

  it('a RESET of the peer ends the wait of our own', () => {
    const peer = resetWith(CREDIT + 1);
    framesOf(peer);
    peer.feed(wire.reset(1));
    peer.session.release(1);
    expect(framesOf(peer)).toEqual([]);
    expect(kept(peer.session)).toEqual(NOTHING);
    expect(peer.session.nextTimeout()).toBeGreaterThan(0);
  });

  it('RESET goes without the queued bytes if the peer takes none until the limit', () => {
    const peer = resetWith(CREDIT + 1);
    framesOf(peer);
    peer.now += WAIT_MS - 1;
    peer.session.handleTimeout(peer.now);
    expect(framesOf(peer).filter(([type]) => type === 'reset')).toEqual([]);
    expect(peer.session.nextTimeout()).toBe(WAIT_MS);
    peer.now += 1;
    peer.session.handleTimeout(peer.now);
    expect(framesOf(peer)).toContainEqual(['reset', 1, 42]);
  });

  it('RESET waits as long as the peer takes some of the queued bytes', () => {
    const peer = resetWith(CREDIT + 100 * KIB);
    framesOf(peer);
    for (let taken = 0; taken < 100; taken += 4) {
      peer.now += WAIT_MS - 1;
      peer.session.handleTimeout(peer.now);
      peer.feed(wire.credit(1, 4 * KIB));
      expect(framesOf(peer)).toContainEqual(['data', 1, 4 * KIB]);
    }
    expect(kept(peer.session).streams).toBe(0);
  });

  it('the time without a link does not count for the wait of a RESET', () => {
    const peer = resetWith(CREDIT + 1);
    framesOf(peer);
    peer.session.handleDetached();
    peer.now += 10 * WAIT_MS;
    peer.session.handleAttached(peer.now);
    peer.session.handleTimeout(peer.now);
    peer.feed(wire.credit(1, 4 * KIB));
    expect(framesOf(peer).slice(-2)).toEqual([
      ['data', 1, 1],
      ['reset', 1, 42],
    ]);
  });

  it('a session that drains lives until a waiting RESET was sent', () => {
    const peer = resetWith(CREDIT + 1);
    peer.session.release(1);
    peer.session.drain();
    framesOf(peer);
    expect(peer.session.isIdle).toBe(false);
    peer.feed(wire.credit(1, 4 * KIB));
    framesOf(peer);
    expect(peer.session.isIdle).toBe(true);
  });
});

describe('A stream that the peer’s socket reset', () => {
  it('a stream that the peer’s socket reset keeps its slot and memory until its data is consumed', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1);
    peer.session.release(1);
    peer.feed(...Array.from({ length: 4 }, () => wire.data(1, Buffer.alloc(50 * KIB))), wire.reset(1));
    expect(peer.eventsOf(1).filter((type) => type !== 'data')).toEqual(['offer', 'reset']);
    framesOf(peer);
    expect(kept(peer.session)).toEqual({ ...NOTHING, unread: 1, unreleased: 1, committed: 200 * KIB });
    peer.session.consume(1, 200 * KIB - 1, 0);
    // Nothing more may come, so none is granted.
    expect(framesOf(peer)).toEqual([]);
    peer.session.consume(1, 1, 0);
    expect(kept(peer.session)).toEqual(NOTHING);
  });

  it('a stream that is reset with another code is gone at once', () => {
    const peer = MuxPeer.joined('client');
    const id = peer.opened();
    peer.feed(wire.data(id, Buffer.alloc(5000)), wire.reset(id, 44));
    expect(kept(peer.session)).toEqual(NOTHING);
    expect(peer.session.open(TARGET, 0)).toHaveProperty('stream');
  });

  it('a byte after the RESET of a socket ends the session', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1);
    peer.feed(wire.reset(1));
    peer.feed(wire.data(1, Buffer.alloc(1)));
    expect(peer.ended).toBe('window-exceeded');
  });
});
