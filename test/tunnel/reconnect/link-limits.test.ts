/** What is learnt of networks that stop connections after a while. */
import { describe, expect, it } from 'vitest';
import { type EndedLink, LinkLimits } from '../../../src/tunnel/reconnect/link-limits.ts';

const frozen = (received: number): EndedLink => ({ how: 'froze', received, sent: 500, ageMs: 900, idleMs: 3_000 });
const lost = (ageMs: number, idleMs = 0, received = ageMs * 7 + idleMs): EndedLink => ({
  ...{ how: 'lost', sent: 900, received },
  ...{ ageMs, idleMs },
});

function learnt(links: readonly EndedLink[], limits = new LinkLimits()) {
  return links.map((link) => limits.handleEnded(link)).filter((limit) => limit !== undefined);
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
    expect(limits.use.ageMs).toBe(48_000);
    expect(limits.use.received).toBe(Number.POSITIVE_INFINITY);
  });

  it('a limit is told once, and again only where it is lower', () => {
    const limits = new LinkLimits();
    const three = (ageMs: number) => [lost(ageMs), lost(ageMs), lost(ageMs)];
    expect(learnt([...three(60_000), ...three(60_000), ...three(30_000)], limits).map(({ value }) => value)).toEqual([
      60_000, 30_000,
    ]);
  });

  it('what the user has given holds unless less is learnt', () => {
    const limits = new LinkLimits({ ageMs: 20_000 });
    learnt([lost(60_000), lost(60_000), lost(60_000)], limits);
    expect(limits.use.ageMs).toBe(20_000);
    learnt([lost(10_000), lost(10_000), lost(10_000)], limits);
    expect(limits.use.ageMs).toBe(8_000);
  });

  it('of a number of bytes that the user has given, links leave room for what the network counts beside them', () => {
    expect(new LinkLimits({ received: 16_000, sent: 16_000 }).use).toMatchObject({ received: 12_800, sent: 12_800 });
  });

  it('another network is to be learnt anew', () => {
    const limits = new LinkLimits();
    learnt([lost(60_000), lost(60_000), lost(60_000)], limits);
    limits.handleNetworkChanged();
    expect(limits.use.ageMs).toBe(Number.POSITIVE_INFINITY);
  });
});
