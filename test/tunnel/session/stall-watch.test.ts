import { describe, expect, it } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import { StallWatch } from '../../../src/tunnel/session/stall-watch.ts';

/** A watch of a link through which nothing has come since 0, and which is found to stall at 3 s. */
function stalled(): StallWatch {
  const watch = new StallWatch();
  watch.handleStalled(0, 3_000);
  return watch;
}

describe('StallWatch', () => {
  it('StallWatch reports nothing where another link replaces a stalled one at once', () => {
    const watch = stalled();
    watch.handleLink(3_200);
    expect([watch.poll(5_999), watch.end(6_000), watch.poll(10_000)]).toEqual([undefined, undefined, undefined]);
  });

  it('StallWatch reports a stall after 6 s, once, and why there is no other link', () => {
    const watch = stalled();
    const error = new WstunError('relay-unreachable', 'relay.test:443: no answer');
    watch.handleFailed(error);
    expect(watch.poll(5_999)).toBeUndefined();
    expect(watch.poll(6_000)).toEqual({ silentMs: 6_000, links: 0, onlyShort: false, error });
    expect(watch.poll(60_000)).toBeUndefined();
    expect(watch.end(70_000)).toBe(70_000);
  });

  it('StallWatch leaves a second link as much time where the path is long', () => {
    const watch = new StallWatch();
    watch.handleStalled(0, 6_400);
    expect(watch.poll(9_399)).toBeUndefined();
    expect(watch.poll(9_400)).toMatchObject({ silentMs: 9_400 });
  });

  it('StallWatch reports that only short messages pass after two links have opened and carried nothing, and not before', () => {
    const watch = stalled();
    watch.handleLink(3_100);
    expect(watch.poll(6_000)).toMatchObject({ links: 1, onlyShort: false });
    watch.handleLink(6_200);
    watch.handleReceived(40);
    expect(watch.poll(9_000)).toBeUndefined();
    watch.handleLink(9_300);
    expect(watch.poll(9_400)).toMatchObject({ links: 3, onlyShort: true });
    expect(watch.poll(60_000)).toBeUndefined();
  });

  it('StallWatch never reports that only short messages pass where a longer one came through a new link', () => {
    const watch = stalled();
    for (let at = 3_100; at < 30_000; at += 3_100) {
      watch.handleLink(at);
      watch.handleReceived(1_400);
      expect(watch.poll(at)?.onlyShort ?? false).toBe(false);
    }
  });

  it('StallWatch does not report the end of a stall where the loss of the link was reported meanwhile', () => {
    const watch = stalled();
    watch.poll(6_000);
    watch.handleLossReported();
    expect(watch.end(8_000)).toBeUndefined();
  });
});

describe('StallWatch and links that carry nothing', () => {
  it('StallWatch replaces silent links at once three times, then after 10, 20, 40 and 40 s', () => {
    const watch = stalled();
    const waits: number[] = [];
    for (let link = 0; link < 7; link++) {
      waits.push(watch.changeAt() - 1_000 * link);
      watch.handleLink(1_000 * (link + 1));
    }
    const now = Number.NEGATIVE_INFINITY;
    expect(waits).toEqual([now, now, now, 10_000, 20_000, 40_000, 40_000]);
  });

  it('StallWatch replaces a silent link at once after the network has changed, or something has come through', () => {
    const watch = stalled();
    for (let link = 0; link < 5; link++) watch.handleLink(1_000 * link);
    watch.handleNetworkChanged();
    expect(watch.changeAt()).toBe(Number.NEGATIVE_INFINITY);
    for (let link = 0; link < 5; link++) watch.handleLink(1_000 * link);
    watch.end(9_000);
    watch.handleStalled(10_000, 13_000);
    expect(watch.changeAt()).toBe(Number.NEGATIVE_INFINITY);
  });
});
