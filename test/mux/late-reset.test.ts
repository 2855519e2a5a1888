/**
 * The reset of a socket comes behind the bytes that came before it (docs/protocol.md §7); any other reset acts at once.
 */
import { describe, expect, it } from 'vitest';
import type { LoggedFrame } from '../support/frame-log.ts';
import { kept, NOTHING } from '../support/mux-internals.ts';
import { MuxPeer, TARGET } from '../support/mux-peer.ts';
import { wire } from '../support/wire.ts';

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

describe('the reset of a socket', () => {
  it('goes out behind all that is queued, as credit comes', () => {
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

  it('goes out at once where nothing is queued, or what is queued is of no more use', () => {
    expect(framesOf(resetWith(0))).toEqual([['reset', 1, 42]]);
    expect(framesOf(resetWith(5, 'quota-used'))).toEqual([['reset', 1, 44]]);
  });

  it('goes out behind FINISH where the socket had ended before it was reset', () => {
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

  it('waits for room where a record ends right behind the data', () => {
    const peer = resetWith(1000);
    for (let records = 0; records < 10; records++) {
      const record = peer.record(512);
      if (record === undefined) break;
      expect(record.length).toBeLessThanOrEqual(512);
    }
    expect(kept(peer.session).streams).toBe(0);
  });

  it('drops what the peer still sends, and grants credit for it: it may read only when it has written all', () => {
    const peer = resetWith(CREDIT + 1);
    framesOf(peer);
    for (let i = 0; i < 4; i++) peer.feed(wire.data(1, Buffer.alloc(50 * KIB)));
    expect(peer.eventsOf(1)).toEqual(['offer']);
    expect(framesOf(peer)).toContainEqual(['credit', 1, expect.any(Number)]);
    peer.feed(wire.finish(1));
    expect(peer.eventsOf(1)).toEqual(['offer']);
    expect(peer.ended).toBeUndefined();
  });

  it('drops what its owner had not consumed', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1, 0);
    peer.feed(wire.data(1, Buffer.alloc(5000)));
    const before = kept(peer.session).committed;
    peer.session.write(1, Buffer.alloc(1));
    peer.session.reset(1, 'target-reset', 0);
    expect(kept(peer.session).committed).toBe(before - 5000);
  });

  it('is overtaken by the reset of the peer', () => {
    const peer = resetWith(CREDIT + 1);
    framesOf(peer);
    peer.feed(wire.reset(1));
    peer.session.release(1);
    expect(framesOf(peer)).toEqual([]);
    expect(kept(peer.session)).toEqual(NOTHING);
    expect(peer.session.nextTimeout()).toBeGreaterThan(0);
  });

  it('goes without the bytes when the peer takes none for the limit', () => {
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

  it('waits for as long as the peer takes some', () => {
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

  it('waits through the loss of a link, whatever that takes', () => {
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

  it('keeps a session that drains alive until it has gone out', () => {
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

describe('a stream that the peer’s socket reset', () => {
  it('keeps its place and its memory until what came before has been consumed', () => {
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

  it('is gone at once with any other code', () => {
    const peer = MuxPeer.joined('client');
    const id = peer.opened();
    peer.feed(wire.data(id, Buffer.alloc(5000)), wire.reset(id, 44));
    expect(kept(peer.session)).toEqual(NOTHING);
    expect(peer.session.open(TARGET, 0)).toHaveProperty('stream');
  });

  it('may send no byte behind its reset', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1);
    peer.feed(wire.reset(1));
    peer.feed(wire.data(1, Buffer.alloc(1)));
    expect(peer.ended).toBe('window-exceeded');
  });
});
