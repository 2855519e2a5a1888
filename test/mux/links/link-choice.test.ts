import { describe, expect, it } from 'vitest';
import { fastestLink } from '../../../src/mux/links/link-choice.ts';
import { QuietLink } from '../../../src/mux/links/quiet-link.ts';
import type { SessionLink } from '../../../src/mux/links/session-link.ts';
import { TestLinks } from '../../support/mux/session-links.ts';

const any = () => true;

/** Links with these round trips, ms, which have nothing in flight at `now`. */
function linksOf(...roundTrips: readonly number[]): {
  rig: TestLinks;
  links: readonly SessionLink[];
  now: number;
} {
  const rig = new TestLinks();
  const links = roundTrips.map(() => rig.link());
  const ends = links.map((link, i) => rig.warmUp(link, Number(roundTrips[i])));
  return { rig, links, now: Math.max(...ends) };
}

describe('The link of the next record', () => {
  it('the next record goes by the link with the shortest way, of those that may carry it', () => {
    const { links, now } = linksOf(80, 20, 50);
    expect(fastestLink(links, now, any)).toBe(links[1]);
    expect(fastestLink(links, now, (link) => link !== links[1])).toBe(links[2]);
    expect(fastestLink(links, now, () => false)).toBeUndefined();
    expect(fastestLink([], now, any)).toBeUndefined();
  });

  it('of equal links the first one carries it, so that what follows stays in order', () => {
    const { links, now } = linksOf(30, 30, 30);
    expect(fastestLink(links, now, any)).toBe(links[0]);
  });

  it('the next record goes by a longer link where more is on its way by the shorter one than that takes', () => {
    const { rig, links, now } = linksOf(20, 60);
    const [short, long] = links as [SessionLink, SessionLink];
    const bytesOfShort = Number(short.congestion.deliveryRate);
    rig.send(short, bytesOfShort * 25, now);
    expect(fastestLink(links, now, any)).toBe(short);
    rig.send(short, bytesOfShort * 20, now);
    expect(fastestLink(links, now, any)).toBe(long);
  });

  it('a link whose oldest record is overdue is passed over', () => {
    const { rig, links, now } = linksOf(20, 40);
    rig.send(links[0] as SessionLink, 10, now);
    expect(fastestLink(links, now + 19, any)).toBe(links[0]);
    expect(fastestLink(links, now + 60, any)).toBe(links[1]);
  });
});

describe('The link without bulk', () => {
  it('a link is kept free of bulk for 2 s after a quiet stream has sent, where there are three', () => {
    const { links, now } = linksOf(60, 20, 40);
    const quiet = new QuietLink();
    expect(quiet.choose(links, now)).toBeUndefined();
    quiet.note(100, now);
    expect(quiet.choose(links, now)).toBe(links[1]);
    expect(quiet.choose(links.slice(0, 2), now)).toBeUndefined();
    expect(quiet.choose(links, now + 1_999)).toBe(links[1]);
    expect(quiet.choose(links, now + 2_000)).toBeUndefined();
  });

  it('it stays the same link, until that stalls or is lost', () => {
    const { rig, links, now } = linksOf(60, 30, 40);
    const [long, first, second] = links as [SessionLink, SessionLink, SessionLink];
    const quiet = new QuietLink();
    quiet.note(100, now);
    expect(quiet.choose(links, now)).toBe(first);
    rig.warmUp(second, 1, now);
    expect(quiet.choose(links, now)).toBe(first);
    first.handOver();
    expect(quiet.choose(links, now)).toBe(second);
    first.endStall();
    expect(quiet.choose(links, now)).toBe(second);
    const others = [long, first, rig.link()];
    expect(quiet.choose(others, now)).toBe(first);
  });

  it('the first frame of a download keeps no link free, although it goes before bulk', () => {
    const { links, now } = linksOf(10, 20, 30);
    const quiet = new QuietLink();
    quiet.note(1_408, now);
    expect(quiet.choose(links, now)).toBeUndefined();
    quiet.note(1_000, now);
    expect(quiet.choose(links, now)).toBe(links[0]);
  });

  it('a link that is to be left is not the one without bulk', () => {
    const { links, now } = linksOf(10, 20, 30, 40);
    const [unwanted, left, next] = links as [SessionLink, SessionLink, SessionLink];
    unwanted.isUnwanted = true;
    left.isPeerLeaving = true;
    const quiet = new QuietLink();
    quiet.note(100, now);
    expect(quiet.choose(links, now)).toBe(next);
  });
});
