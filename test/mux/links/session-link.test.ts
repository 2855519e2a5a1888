import { describe, expect, it } from 'vitest';
import type { RecordPart } from '../../../src/mux/links/kept-records.ts';
import type { SessionLink } from '../../../src/mux/links/session-link.ts';
import { RECEIPT_CLOCK_US } from '../../../src/protocol/record-header.ts';
import { TestLinks } from '../../support/mux/session-links.ts';

const ack = (position: number, receivedUs = 0) => ({ position, receivedUs });

describe('What a link has in flight', () => {
  it('an acknowledgement is of positions on its link, whatever numbers the records have', () => {
    const links = new TestLinks();
    const [a, b] = [links.link(), links.link()];
    const parts = [a, b, b, a, b].map((link) => links.send(link, 100, 0));
    expect(b.onAcknowledged(ack(2), 10)).toBe(2);
    expect(parts.map(({ isAcked }) => isAcked)).toEqual([false, true, true, false, false]);
    expect(a.onAcknowledged(ack(1), 10)).toBe(1);
    expect(links.kept.ackedUpTo).toBe(3);
    expect([a, b].map((link) => link.hasInFlight)).toEqual([true, true]);
  });

  it('an acknowledgement of no more than before says nothing, and of more than was sent cannot be', () => {
    const links = new TestLinks();
    const link = links.link();
    for (let i = 0; i < 3; i++) links.send(link, 100, 0);
    expect(link.onAcknowledged(ack(2), 1)).toBe(2);
    expect([0, 1, 2].map((position) => link.onAcknowledged(ack(position), 1))).toEqual([0, 0, 0]);
    expect(link.onAcknowledged(ack(4), 1)).toBeUndefined();
    expect(link.onAcknowledged(ack(3), 1)).toBe(1);
    expect([link.hasInFlight, link.congestion.inFlightBytes]).toEqual([false, 0]);
  });

  it('many records on a link are acknowledged one by one as all at once', () => {
    const links = new TestLinks();
    const link = links.link();
    for (let round = 1; round <= 1_000; round++) {
      for (let i = 0; i < 3; i++) links.send(link, 10, round);
      expect(link.onAcknowledged(ack(2 * round), round + 0.5)).toBe(2);
    }
    expect(link.onAcknowledged(ack(3_001), 1_001)).toBeUndefined();
    expect(link.onAcknowledged(ack(3_000), 1_001)).toBe(1_000);
    expect(links.kept.bytes).toBe(0);
  });

  it('what a lost link had in flight is sent again, but for what another link has in flight, too', () => {
    const links = new TestLinks();
    const [a, b] = [links.link(), links.link()];
    const parts = [1, 2, 3].map(() => links.send(a, 100, 0));
    links.sendPart(b, parts[1] as RecordPart, 5);
    a.giveUp();
    expect(waitingOf(links)).toEqual([1, 3]);
    b.giveUp();
    expect(waitingOf(links)).toEqual([2]);
  });

  it('what a late link has in flight is handed over once, and is not sent again if it comes after all', () => {
    const links = new TestLinks();
    const link = links.link();
    const now = links.warmUp(link, 40);
    for (let i = 0; i < 3; i++) links.send(link, 1_000, now);
    expect(link.lateAt).toBeGreaterThanOrEqual(now + 100);
    expect(link.lateAt).toBeLessThanOrEqual(now + 120);
    link.handOver();
    expect([link.isStalled, link.lateAt]).toEqual([true, Number.POSITIVE_INFINITY]);
    expect(links.kept.waiting).toBeDefined();
    links.acknowledgeAll(link, now + 150);
    expect([link.isStalled, links.kept.waiting]).toEqual([false, undefined]);
  });

  function waitingOf({ kept }: TestLinks): number[] {
    const numbers: number[] = [];
    for (let part = kept.waiting; part !== undefined; part = kept.waiting) {
      kept.unqueue(part);
      numbers.push(part.record.number);
    }
    return numbers;
  }
});

describe('Signs of lost packets', () => {
  const ROUND_TRIP_MS = 60;
  /** Each ms a record, for so long, as if nothing else limited it; `arrivesAt` says when one that is sent then comes. */
  function carry(ms: number, arrivesAt: (sentAt: number) => number, isForBulk = false): SessionLink {
    const links = new TestLinks();
    const link = links.link();
    link.setForBulk(isForBulk);
    const begin = links.warmUp(link, ROUND_TRIP_MS);
    const first = 20;
    const arrivals: number[] = [];
    let acknowledged = 0;
    for (let at = begin; at < begin + ms; at++) {
      links.send(link, 1_400, at);
      arrivals.push(Math.max(arrivals.at(-1) ?? 0, arrivesAt(at)));
      const due = arrivals.filter((arrival) => arrival + ROUND_TRIP_MS / 2 <= at).length;
      if (due === acknowledged) continue;
      acknowledged = due;
      link.onAcknowledged(ack(first + due, Math.round(Number(arrivals[due - 1]) * 1000) % RECEIPT_CLOCK_US), at);
    }
    return link;
  }
  const smoothly = (at: number): number => at + ROUND_TRIP_MS / 2;

  it('a path on which all arrives one by one shows no hole', () => {
    expect(carry(3_000, smoothly).holes).toBe(0);
  });

  it('each time that nothing arrives for a round trip and then all at once is one hole', () => {
    // A packet is lost each 500 ms, and what follows it waits until it was sent again.
    const lossy = (at: number): number => (at % 500 < 70 ? at - (at % 500) + 70 : at) + ROUND_TRIP_MS / 2;
    const { holes } = carry(3_000, lossy);
    expect(holes).toBeGreaterThanOrEqual(5);
    expect(holes).toBeLessThanOrEqual(7);
  });

  it('where packets were lost, a link is late only when the timer of TCP would have repaired it', () => {
    const lossy = (at: number): number => (at % 500 < 70 ? at - (at % 500) + 70 : at) + ROUND_TRIP_MS / 2;
    const waitOf = (link: SessionLink): number => link.lateAt - link.progressAt;
    const [without, withLosses] = [carry(3_000, smoothly, true), carry(3_000, lossy, true)];
    expect(waitOf(withLosses) - waitOf(without)).toBeGreaterThan(100);
    expect(waitOf(withLosses)).toBeLessThan(500);
    // A network that stops links is not to be waited for, nor a link where quiet streams send.
    const before = withLosses.lateAt;
    withLosses.setForBulk(false);
    expect(before - withLosses.lateAt).toBe(200);
    withLosses.setForBulk(true);
    withLosses.limits = { sentBytes: 16_000, receivedBytes: Number.POSITIVE_INFINITY };
    expect(before - withLosses.lateAt).toBe(200);
  });

  it('a delay shorter than half a round trip is no hole', () => {
    const jittery = (at: number): number => (at % 500 < 25 ? at - (at % 500) + 25 : at) + ROUND_TRIP_MS / 2;
    expect(carry(3_000, jittery).holes).toBe(0);
  });

  it('a pause between two bursts of the sender is no hole', () => {
    const links = new TestLinks();
    const link = links.link();
    let now = links.warmUp(link, 20);
    for (let burst = 0; burst < 50; burst++) {
      for (let i = 0; i < 20; i++) links.send(link, 1_400, now);
      now += 20;
      links.acknowledgeAll(link, now, now - 10);
      now += 100;
    }
    expect(link.holes).toBe(0);
  });
});

describe('A link that waits', () => {
  it('a link whose first burst comes slowly is not late while it comes', () => {
    const links = new TestLinks();
    const link = links.link();
    const now = links.warmUp(link, 10);
    for (let i = 0; i < 12; i++) links.send(link, 1_400, now);
    // Acknowledgements of one after the other.
    for (let i = 1; i <= 11; i++) {
      expect(link.lateAt).toBeGreaterThan(now + 10 * i);
      link.onAcknowledged({ position: 20 + i, receivedUs: (now + 10 * i - 5) * 1000 }, now + 10 * i);
    }
    expect(link.lateAt).toBe(now + 110 + 60);
  });

  it('a link stalls 3 s after the last progress, or after 4 round trips, and not while nothing is in flight', () => {
    const links = new TestLinks();
    const link = links.link();
    expect([link.stallsAt, link.lateAt]).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
    links.send(link, 100, 5_000);
    links.send(link, 100, 6_000);
    expect(link.stallsAt).toBe(8_000);
    link.onAcknowledged(ack(1), 7_000);
    // Its first round trip took 2 s.
    expect(link.stallsAt).toBe(7_000 + 4 * 2_000);
    links.acknowledgeAll(link, 8_000);
    expect(link.stallsAt).toBe(Number.POSITIVE_INFINITY);
  });

  it('a link has left when both ends have said so and nothing is on its way', () => {
    const links = new TestLinks();
    const link = links.link();
    links.send(link, 100, 0);
    link.setLeaving(true, 0);
    expect(link.hasLeft).toBe(false);
    link.isPeerLeaving = true;
    expect(link.hasLeft).toBe(false);
    links.acknowledgeAll(link, 10);
    expect(link.hasLeft).toBe(true);
  });
});
