import { describe, expect, it } from 'vitest';
import type { RecordPart } from '../../../src/mux/links/kept-records.ts';
import { LateCopies } from '../../../src/mux/links/late-copies.ts';
import { TestLinks } from '../../support/mux/session-links.ts';

const KIB = 1024;

describe('Copies of small records that are late', () => {
  it('a record is late 8 ms after the round trip, once, and not when it was acknowledged meanwhile', () => {
    const links = new TestLinks();
    const link = links.link();
    const now = links.warmUp(link, 40);
    const copies = new LateCopies();
    expect(copies.dueAt).toBe(Number.POSITIVE_INFINITY);
    const first = links.send(link, 100, now);
    copies.watch(first, link, now);
    const second = links.send(link, 100, now + 5);
    copies.watch(second, link, now + 5);
    expect(copies.dueAt).toBeCloseTo(now + 48);
    expect(copies.take(now + 47)).toBeUndefined();
    const late = copies.take(now + 48.01);
    expect([late?.part, late?.link]).toEqual([first, link]);
    expect(copies.take(now + 49)).toBeUndefined();
    links.kept.acknowledge(second);
    expect([copies.dueAt, copies.take(now + 100)]).toEqual([Number.POSITIVE_INFINITY, undefined]);
  });

  it('a record is late by the round trip of the empty path where bulk has filled it', () => {
    const links = new TestLinks();
    const link = links.link();
    const now = links.warmUp(link, 200, links.warmUp(link, 40), 3);
    const copies = new LateCopies();
    copies.watch(links.send(link, 100, now), link, now);
    expect(copies.dueAt - now).toBeCloseTo(1.25 * 40 + 8);
  });

  it('a record over 2 KiB is never sent twice', () => {
    const links = new TestLinks();
    const link = links.link();
    const copies = new LateCopies();
    copies.watch(links.send(link, 2 * KIB + 1, 0), link, 0);
    expect(copies.dueAt).toBe(Number.POSITIVE_INFINITY);
    copies.watch(links.send(link, 2 * KIB, 0), link, 0);
    expect(copies.take(1_000)?.part.length).toBe(2 * KIB);
  });

  it('copies are 16 KiB at first, then 2 % of all that is sent, and at most 256 KiB after a long time without', () => {
    const links = new TestLinks();
    const link = links.link();
    const copies = new LateCopies();
    /** All copies that are allowed now, bytes. */
    const copyAll = (): number => {
      let bytes = 0;
      let missed = 0;
      while (missed < 3) {
        copies.watch(links.send(link, KIB, 0), link, 0);
        const late = copies.take(1_000_000);
        if (late === undefined) missed += 1;
        bytes += late?.part.length ?? 0;
      }
      return bytes;
    };
    expect(copyAll()).toBe(16 * KIB);
    expect(copyAll()).toBe(0);
    for (let i = 0; i < 100; i++) copies.onSent(10 * KIB);
    // One less where 2 % are a fraction.
    expect([19 * KIB, 20 * KIB]).toContain(copyAll());
    for (let i = 0; i < 10_000; i++) copies.onSent(48 * KIB);
    expect(copyAll()).toBe(256 * KIB);
  });

  it('at most 256 records are watched at once', () => {
    const links = new TestLinks();
    const link = links.link();
    const copies = new LateCopies();
    const parts: RecordPart[] = Array.from({ length: 1_000 }, () => links.send(link, 1, 0));
    for (const part of parts) copies.watch(part, link, 0);
    let taken = 0;
    while (copies.take(1_000) !== undefined) taken += 1;
    expect(taken).toBe(256);
  });

  it('a record that waits to be sent again anyway gets no late copy', () => {
    const links = new TestLinks();
    const link = links.link();
    const copies = new LateCopies();
    const [queued, other] = [links.send(link, 100, 0), links.send(link, 100, 0)];
    copies.watch(queued, link, 0);
    copies.watch(other, link, 0);
    links.kept.requeue(queued);
    expect(copies.take(1_000)?.part).toBe(other);
  });

  it('no late copy stays due once the allowance is used up', () => {
    const links = new TestLinks();
    const link = links.link();
    const copies = new LateCopies();
    for (let i = 0; i < 40; i++) copies.watch(links.send(link, KIB, 0), link, 0);
    let taken = 0;
    while (copies.take(1_000) !== undefined) taken += 1;
    expect(taken).toBe(16);
    expect(copies.dueAt).toBe(Number.POSITIVE_INFINITY);
  });
});
