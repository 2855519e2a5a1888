/** Which of several links is so much slower than others that it is left. */
import { describe, expect, it } from 'vitest';
import { KeptRecords } from '../../../src/mux/links/kept-records.ts';
import { DEFAULT_RESUME_CONFIG } from '../../../src/mux/links/resume-config.ts';
import { RetransmitMemory } from '../../../src/mux/links/retransmit-store.ts';
import { SessionLink } from '../../../src/mux/links/session-link.ts';
import { SlowLinks } from '../../../src/mux/links/slow-links.ts';

const SPAN_MS = 2_000;

function newLink(): SessionLink {
  const kept = new KeptRecords(new RetransmitMemory(2 ** 20));
  return new SessionLink(DEFAULT_RESUME_CONFIG, kept, { sent: 0, received: 0, lastNumber: 0 }, 0);
}

/** What is found after each of so many spans, in which the links carry so much and are late so often. */
function find(spans: number, shares: readonly { bytes: number; late: number }[]): (readonly number[])[] {
  const links = shares.map(newLink);
  const slow = new SlowLinks(0);
  return Array.from({ length: spans }, (_, span) => {
    for (const [index, link] of links.entries()) {
      link.ackedBytes += shares[index]?.bytes ?? 0;
      link.lateTimes += shares[index]?.late ?? 0;
    }
    return slow.find(links, (span + 1) * SPAN_MS).map((link) => links.indexOf(link));
  });
}

describe('Links that are slowed down', () => {
  it('a link that carries less than an eighth and is late for three spans in a row is found', () => {
    const found = find(5, [
      { bytes: 1_000_000, late: 0 },
      { bytes: 100_000, late: 1 },
    ]);
    expect(found).toEqual([[], [], [], [1], [1]]);
  });

  it('a link that carries little and is never late is only not needed', () => {
    const found = find(8, [
      { bytes: 1_000_000, late: 0 },
      { bytes: 0, late: 0 },
    ]);
    expect(found.flat()).toEqual([]);
  });

  it('a link that is late and carries an eighth is kept', () => {
    const found = find(8, [
      { bytes: 1_000_000, late: 3 },
      { bytes: 125_000, late: 3 },
    ]);
    expect(found.flat()).toEqual([]);
  });

  it('links are not compared before two seconds have passed', () => {
    const slow = new SlowLinks(0);
    expect(slow.find([newLink()], SPAN_MS - 1)).toEqual([]);
  });
});
