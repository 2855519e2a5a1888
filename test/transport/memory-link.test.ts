import { describe, expect, it } from 'vitest';
import { describeLinkCompliance } from '../support/links/link-compliance.ts';
import { LinkRecorder, turns } from '../support/links/link-recorder.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

describeLinkCompliance('a memory link', async () => {
  const [near, far] = memoryLinkPair();
  return { near, far };
});

describe('a memory link', () => {
  it('a memory link ends 5 s after close when the other end does not read', async () => {
    const clock = new VirtualClock();
    const [near, far] = memoryLinkPair({ clock });
    const atNear = new LinkRecorder(near);
    far.pause();
    near.send([Uint8Array.of(1)]);
    near.close();
    clock.advanceNow(4_999);
    await turns(3);
    expect(atNear.closes).toEqual([]);
    clock.advanceNow(1);
    await turns(3);
    expect(atNear.closes.map(({ clean }) => clean)).toEqual([false]);
  });

  it('a memory link delivers one read per turn, in the turns that its owner gives it', () => {
    const tasks: (() => void)[] = [];
    const [near, far] = memoryLinkPair({ readBytes: 100, highMarkBytes: 150, defer: (task) => tasks.push(task) });
    const atNear = new LinkRecorder(near);
    const atFar = new LinkRecorder(far);
    for (const task of tasks.splice(0)) task();
    expect([near.send([new Uint8Array(80)]), near.send([new Uint8Array(80)])]).toEqual([true, false]);
    near.send([new Uint8Array(80)]);
    expect(tasks.length).toBe(1);
    tasks.shift()?.();
    expect([atFar.messages.length, atNear.drains, near.queuedBytes]).toEqual([2, 0, 80]);
    tasks.shift()?.();
    expect([atFar.messages.length, atNear.drains, near.queuedBytes]).toEqual([3, 1, 0]);
  });
});
