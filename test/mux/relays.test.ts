/** RELAYS between the two ends of a session (docs/protocol.md §6.1): who sends it, and what comes of it. */
import { describe, expect, it } from 'vitest';
import { FEATURE_RELAYS, MAX_PAYLOAD_BYTES } from '../../src/protocol/frames.ts';
import { loggedRelays } from '../support/mux/frame-log.ts';
import { MuxPeer } from '../support/mux/mux-peer.ts';
import { frame, wire } from '../support/mux/wire.ts';

const TOLD = { urls: ['wss://a.test', 'wss://b.test'], pins: [new Uint8Array(32).fill(7)] };

function joined(role: 'client' | 'exit', features: number): MuxPeer {
  const peer = new MuxPeer(role);
  peer.feed(wire.hello(1024, 1, features));
  peer.frames();
  peer.events.length = 0;
  return peer;
}

describe('RELAYS of an exit', () => {
  it('is sent to a client that has offered it, and to no other', () => {
    for (const features of [0, 0x000f, FEATURE_RELAYS, 0xffff]) {
      const peer = joined('exit', features);
      peer.session.tellRelays(TOLD);
      const isKnown = (features & FEATURE_RELAYS) !== 0;
      expect([features, peer.frames()]).toEqual([features, isKnown ? [['relays', ...loggedRelays(TOLD)]] : []]);
    }
  });

  it('is not sent before the HELLO of the client, nor after the end', () => {
    const early = new MuxPeer('exit');
    early.session.tellRelays(TOLD);
    expect(early.frames().map(([type]) => type)).not.toContain('relays');
    const over = joined('exit', FEATURE_RELAYS);
    over.session.fail('shutting-down');
    over.session.tellRelays(TOLD);
    expect(over.frames().map(([type]) => type)).toEqual(['go-away']);
  });

  it('has a record of its own where it is longer than records are for now', () => {
    const peer = joined('exit', FEATURE_RELAYS);
    const urls = Array.from({ length: 8 }, (_, n) => `wss://${'u'.repeat(1_000)}${n}.test`);
    peer.session.tellRelays({ urls, pins: [] });
    peer.session.tellRelays(TOLD);
    const records = peer.records(512).map((frames) => frames.map(([type, first]) => [type, String(first).slice(-6)]));
    expect(records).toEqual([[['relays', '0.test']], [['relays', 'a.test']]]);
  });

  it('is offered by clients alone', () => {
    const offered = (role: 'client' | 'exit') => Number(new MuxPeer(role).frames()[0]?.[3]) & FEATURE_RELAYS;
    expect([offered('client'), offered('exit')]).toEqual([FEATURE_RELAYS, 0]);
  });
});

describe('RELAYS at a client', () => {
  it('is an event', () => {
    const peer = joined('client', 0);
    peer.feed(wire.relays('wss://a.test', 'wss://b.test'));
    expect(peer.events).toEqual([{ type: 'relays', told: { urls: ['wss://a.test', 'wss://b.test'], pins: [] } }]);
  });

  it.each<[string, Buffer]>([
    ['without a URL', frame(0x83, 0, Buffer.from([0, 0]))],
    ['with a stream', frame(0x83, 1, wire.relays('wss://a.test').subarray(8))],
    ['of no bytes', frame(0x83, 0)],
    ['of 8,466 zeros', frame(0x83, 0, Buffer.alloc(8_466))],
    ['longer than it can be', frame(0x83, 0, Buffer.alloc(8_467, 1))],
    ['as long as a frame can be', frame(0x83, 0, Buffer.alloc(MAX_PAYLOAD_BYTES, 1))],
  ])('a frame %s is skipped, and the session goes on', (_what, bytes) => {
    const peer = joined('client', 0);
    peer.feed(bytes, wire.ping());
    expect([peer.events, peer.ended]).toEqual([[], undefined]);
    expect(peer.frames().map(([type]) => type)).toEqual(['pong']);
  });

  it('counts as a frame without an effect, of which too many end the session', () => {
    const peer = joined('client', 0);
    for (let i = 0; i < 1_000; i++) peer.feed(wire.relays('wss://a.test'));
    expect(peer.ended).toBeUndefined();
    for (let i = 0; i < 10; i++) peer.feed(wire.relays('wss://a.test'));
    expect(peer.ended).toBe('peer-flood');
  });
});

it('an exit skips RELAYS', () => {
  const peer = joined('exit', FEATURE_RELAYS);
  peer.feed(wire.relays('wss://a.test'));
  expect([peer.events, peer.ended]).toEqual([[], undefined]);
});
