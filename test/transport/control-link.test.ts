import { beforeEach, describe, expect, it } from 'vitest';
import { type ControlHandler, ControlLink } from '../../src/transport/control-link.ts';
import { announcements, type ControlMessage, encodeControl } from '../../src/transport/control-messages.ts';
import type { LinkCloseReason, MessageLink } from '../../src/transport/message-link.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

let clock: VirtualClock;
beforeEach(() => {
  clock = new VirtualClock();
});

const linkPair = () => memoryLinkPair({ clock });

function over(link: MessageLink, accepts: ControlMessage['type'][] = ['call', 'bearers', 'registered', 'replaced']) {
  const heard: ControlMessage[] = [];
  const ends: LinkCloseReason[] = [];
  const handler: ControlHandler = {
    handleControl: (message) => {
      heard.push(message);
      return accepts.includes(message.type);
    },
    handleEnd: (reason) => ends.push(reason),
  };
  const control = new ControlLink(link, handler, clock);
  return { control, heard, ends };
}

const settle = () => clock.advance(10);

describe('a control link', () => {
  it('a control link carries messages both ways, and does not deliver pings, while both ends live', async () => {
    const [near, far] = linkPair();
    const [exit, relay] = [over(near), over(far)];
    exit.control.send({ type: 'bearers', keys: [], more: false });
    relay.control.send({ type: 'registered' });
    await clock.advance(600_000);
    expect([exit.heard, relay.heard]).toEqual([[{ type: 'registered' }], [{ type: 'bearers', keys: [], more: false }]]);
    expect([exit.ends, relay.ends]).toEqual([[], []]);
  });

  it('a control link pings every 5 s, and ends after 45 s of silence of a peer that never pinged', async () => {
    const [near, far] = linkPair();
    const { ends } = over(near);
    const peer = new LinkRecorder(far);
    await clock.advance(44_900);
    expect(peer.messages.map(String)).toEqual(Array.from({ length: 8 }, () => '{"type":"ping"}'));
    expect(ends).toEqual([]);
    await clock.advance(200);
    expect(ends).toEqual([{ clean: false, text: 'the peer stopped answering' }]);
    expect(clock.timers).toBe(0);
  });

  it.each([
    [5_000, 15_000],
    [10_000, 30_000],
    [15_000, 45_000],
  ])('a control link whose peer pings every %i ms ends after %i ms of silence', async (everyMs, limitMs) => {
    const [near, far] = linkPair();
    const { ends } = over(near);
    new LinkRecorder(far);
    for (let i = 0; i < 10; i++) {
      await clock.advance(everyMs);
      far.send(encodeControl({ type: 'ping' }));
    }
    await clock.advance(limitMs - 200);
    expect(ends).toEqual([]);
    await clock.advance(1_000);
    expect(ends).toMatchObject([{ text: 'the peer stopped answering' }]);
  });

  it('a control link keeps a peer that pings at once, and then every 15 s', async () => {
    const [near, far] = linkPair();
    const { ends } = over(near);
    new LinkRecorder(far);
    for (const gapMs of [10, 15_000, 15_000, 15_000]) {
      await clock.advance(gapMs);
      far.send(encodeControl({ type: 'ping' }));
    }
    await clock.advance(14_999);
    expect(ends).toEqual([]);
  });

  it('a control link waits longer for a peer whose pings are late', async () => {
    const [near, far] = linkPair();
    const { ends } = over(near);
    new LinkRecorder(far);
    for (const gapMs of [5_000, 5_000, 5_000, 12_000, 3_000, 14_000]) {
      await clock.advance(gapMs);
      far.send(encodeControl({ type: 'ping' }));
    }
    await clock.advance(20_000);
    expect(ends).toEqual([]);
  });

  it('a control link ends at an invalid message, and at one that its owner does not expect', async () => {
    for (const message of [[Buffer.from('{"type":"hello"}')], encodeControl({ type: 'call', token: '0'.repeat(32) })]) {
      const [near, far] = linkPair();
      const { ends, heard } = over(near, ['bearers']);
      const peer = new LinkRecorder(far);
      far.send(message);
      far.send(encodeControl({ type: 'bearers', keys: [], more: false }));
      await settle();
      expect(ends).toMatchObject([{ clean: false, text: 'an invalid message' }]);
      expect(peer.closes).toHaveLength(1);
      expect(heard.filter(({ type }) => type === 'bearers')).toEqual([]);
    }
  });

  it('a control link ends when its peer leaves a megabyte unread', async () => {
    const [near, far] = linkPair();
    const { control, ends } = over(near);
    far.pause();
    const list = announcements(Array.from({ length: 10_000 }, () => 'A'.repeat(43)));
    const fits = (): void => {
      for (const message of list) control.send(message);
    };
    fits();
    fits();
    await settle();
    expect(ends).toEqual([]);
    fits();
    await settle();
    expect(ends).toMatchObject([{ clean: false, text: 'the peer does not read' }]);
  });

  it('a control link sends what is queued before it ends', async () => {
    const [near, far] = linkPair();
    const { control, ends } = over(near);
    const peer = over(far);
    control.send({ type: 'replaced' });
    control.end();
    control.send({ type: 'registered' });
    await settle();
    expect(peer.heard).toEqual([{ type: 'replaced' }]);
    expect([...ends, ...peer.ends].map(({ clean }) => clean)).toEqual([true, true]);
    expect(clock.timers).toBe(0);
  });
});
