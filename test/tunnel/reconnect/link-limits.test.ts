/** What is learnt of networks that stop connections after a while. */
import { describe, expect, it } from 'vitest';
import { type EndedLink, LinkLimits } from '../../../src/tunnel/reconnect/link-limits.ts';

type Ended = Omit<EndedLink, 'beganAt'>;

const frozen = (received: number): Ended => ({ how: 'froze', received, sent: 500, ageMs: 900, idleMs: 3_000 });
const lost = (ageMs: number, idleMs = 0, received = ageMs * 7 + idleMs): Ended => ({
  ...{ how: 'lost', sent: 900, received },
  ...{ ageMs, idleMs },
});

let now = 0;

/** Each begins when another has ended. */
function learnt(links: readonly Ended[], limits = new LinkLimits()) {
  return links
    .map((link) => {
      now += 2;
      limits.handleEnded({ ...link, beganAt: now - 1 }, now);
      return limits.handleOpened(now);
    })
    .filter((limit) => limit !== undefined);
}

describe('Limits that a network sets to connections', () => {
  it('three links in a row that froze after about as many bytes tell after how many', () => {
    expect(learnt([frozen(15_000), frozen(13_200), frozen(15_600)])).toEqual([
      { by: 'received', how: 'froze', value: 15_600 },
    ]);
  });

  it('links that froze after different numbers of bytes tell nothing', () => {
    expect(learnt([frozen(15_000), frozen(150_000), frozen(40_000), frozen(1_500_000)])).toEqual([]);
  });

  it('links that froze at once tell nothing', () => {
    expect(learnt([frozen(700), frozen(700), frozen(700)])).toEqual([]);
  });

  it('links that were lost at the same age tell which, and the lowest counts', () => {
    expect(learnt([lost(60_100), lost(60_000), lost(60_300)])).toEqual([{ by: 'ageMs', how: 'lost', value: 60_000 }]);
  });

  it('links that were lost after as much idleness tell that, whatever their age', () => {
    expect(learnt([lost(30_000, 10_100), lost(95_000, 10_000), lost(10_000, 10_000)])).toEqual([
      { by: 'idleMs', how: 'lost', value: 10_000 },
    ]);
  });

  it('links that were lost within seconds tell nothing of their age', () => {
    expect(learnt([lost(900, 0, 50), lost(1_000, 0, 400_000), lost(950, 0, 9_000)])).toEqual([]);
  });

  it('two links tell nothing, and a different one between them neither', () => {
    expect(learnt([lost(60_000), lost(60_000)])).toEqual([]);
    expect(learnt([lost(60_000), lost(5_000), lost(60_000), lost(60_000)])).toEqual([]);
  });

  it('links are left before the limit', () => {
    const limits = new LinkLimits();
    learnt([lost(60_000), lost(60_000), lost(60_000)], limits);
    expect(limits.use.ageMs).toBe(42_000);
    expect(limits.use.received).toBe(Number.POSITIVE_INFINITY);
  });

  it('a limit is told once, and again only where it is lower', () => {
    const limits = new LinkLimits();
    const three = (ageMs: number) => [lost(ageMs), lost(ageMs), lost(ageMs)];
    expect(learnt([...three(60_000), ...three(60_000), ...three(30_000)], limits).map(({ value }) => value)).toEqual([
      60_000, 30_000,
    ]);
  });

  it('a limit is forgotten after an hour, and after twice as long each time it is learnt again, without being told', () => {
    const limits = new LinkLimits();
    const three = [lost(60_000), lost(60_100), lost(60_200)];
    expect(learnt(three, limits)).toHaveLength(1);
    for (const hours of [1, 2, 4, 8, 16, 24, 24]) {
      const until = now + hours * 3_600_000;
      expect(limits.forgetsAt).toBe(until);
      limits.handleTimeout(until - 1);
      expect(limits.use.ageMs).toBe(42_000);
      limits.handleTimeout(until);
      expect([limits.use.ageMs, limits.forgetsAt]).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
      now = until;
      expect(learnt(three, limits)).toEqual([]);
    }
  });

  it('a limit that is learnt again and is much lower than before is told', () => {
    const limits = new LinkLimits();
    const three = (ageMs: number) => [lost(ageMs), lost(ageMs), lost(ageMs)];
    learnt(three(60_000), limits);
    now = limits.forgetsAt;
    limits.handleTimeout(now);
    expect(learnt(three(55_000), limits)).toEqual([]);
    now = limits.forgetsAt;
    limits.handleTimeout(now);
    expect(learnt(three(30_000), limits).map(({ value }) => value)).toEqual([30_000]);
  });

  it('in another network a limit is forgotten after an hour again, and told', () => {
    const limits = new LinkLimits();
    const three = [lost(60_000), lost(60_000), lost(60_000)];
    learnt(three, limits);
    now = limits.forgetsAt;
    limits.handleTimeout(now);
    learnt(three, limits);
    limits.handleNetworkChanged(now);
    expect(learnt(three, limits)).toHaveLength(1);
    expect(limits.forgetsAt).toBe(now + 3_600_000);
  });

  it('what the user has given is never forgotten', () => {
    const limits = new LinkLimits({ ageMs: 80_000 });
    learnt([lost(60_000), lost(60_000), lost(60_000)], limits);
    expect(limits.use.ageMs).toBe(42_000);
    limits.handleTimeout(limits.forgetsAt);
    expect(limits.use.ageMs).toBe(80_000);
  });

  it('what the user has given holds unless less is learnt', () => {
    const limits = new LinkLimits({ ageMs: 20_000 });
    learnt([lost(60_000), lost(60_000), lost(60_000)], limits);
    expect(limits.use.ageMs).toBe(20_000);
    learnt([lost(10_000), lost(10_000), lost(10_000)], limits);
    expect(limits.use.ageMs).toBe(7_000);
  });

  it('of a number of bytes that the user has given, links leave room for what the network counts beside them', () => {
    expect(new LinkLimits({ received: 16_000, sent: 16_000 }).use).toMatchObject({ received: 12_800, sent: 12_800 });
  });

  it('links that were there together and end together tell no more than one of them', () => {
    const limits = new LinkLimits();
    for (let n = 0; n < 8; n++) limits.handleEnded({ ...lost(60_000), beganAt: n }, 60_000 + n);
    expect(limits.handleOpened(now)).toBeUndefined();
    for (let n = 0; n < 8; n++) limits.handleEnded({ ...lost(60_000), beganAt: 61_000 + n }, 121_000 + n);
    expect(limits.handleOpened(now)).toBeUndefined();
  });

  it('a link that began after another was lost counts, however soon it is lost, too', () => {
    const limits = new LinkLimits();
    const received = 16_000;
    for (let n = 0; n < 3; n++) limits.handleEnded({ ...lost(50, 0, received), beganAt: 60 * n }, 60 * n + 50);
    expect(limits.handleOpened(now)).toMatchObject({ by: 'received', value: received });
  });

  it('what ended where no other link could be opened tells nothing: the relay was away', () => {
    const limits = new LinkLimits();
    for (let n = 0; n < 5; n++) {
      limits.handleEnded({ ...lost(60_000), beganAt: 100_000 * n }, 100_000 * n + 60_000);
      limits.handleUnreachable();
      limits.handleUnreachable();
      expect(limits.handleOpened(now)).toBeUndefined();
    }
  });

  it('links of the network before tell nothing of this one', () => {
    const limits = new LinkLimits();
    limits.handleNetworkChanged(100_000);
    for (let n = 0; n < 5; n++) limits.handleEnded({ ...frozen(15_000), beganAt: 90_000 + n }, 110_000 + 2_000 * n);
    expect(limits.handleOpened(now)).toBeUndefined();
  });

  it('another network is to be learnt anew', () => {
    const limits = new LinkLimits();
    learnt([lost(60_000), lost(60_000), lost(60_000)], limits);
    limits.handleNetworkChanged(1_000_000);
    expect(limits.use.ageMs).toBe(Number.POSITIVE_INFINITY);
  });
});
