/** What name servers said about a name, A and AAAA combined, and for how long; the bounded cache. Pure. */
import type { WireFaultName } from '../errors.ts';
import { BoundedMap } from '../limits/bounded-map.ts';
import { type IpBytes, parseIp } from '../net/ip.ts';

/** One record type's answer. */
export type FamilyAnswer =
  | { readonly kind: 'found'; readonly records: readonly { readonly address: string; readonly ttl: number }[] }
  /** NXDOMAIN: the name does not exist, with any type (RFC 8020). */
  | { readonly kind: 'unknown' }
  /** NODATA: the name exists, without this type. */
  | { readonly kind: 'empty' }
  /** SERVFAIL, refused, no answer in time, … `code` as node:dns has it. */
  | { readonly kind: 'failed'; readonly code: string };

export type Answer =
  | { readonly kind: 'addresses'; readonly addresses: readonly IpBytes[] }
  | {
      readonly kind: 'fault';
      readonly fault: WireFaultName;
      readonly detail: string;
      /** Whether to ask for the next full name of a search list; not if no name server answers. */
      readonly next: boolean;
    };

export interface TimedAnswer {
  readonly answer: Answer;
  /** How long it may be used, ms. */
  readonly ttlMs: number;
}

/** A page opens dozens of connections at once; a TTL of 0 must not cause dozens of look-ups. */
export const MIN_TTL_MS = 5_000;
/** Longer TTLs save nothing, and a moved service should be found again. */
export const MAX_TTL_MS = 300_000;
/** Half an answer (the other family failed) is soon asked for again. */
export const PARTIAL_TTL_MS = 30_000;
/** For NXDOMAIN and NODATA. node:dns does not show the zone's own figure (RFC 2308), so short. */
export const NEGATIVE_TTL_MS = 10_000;
/** For failures: enough to keep a retry loop from the name server (RFC 2308 §7 allows up to 5 minutes). */
export const FAILURE_TTL_MS = 1_000;
/** Addresses kept of one answer: it could hold 4,000, and dialling tries a few at most. */
export const MAX_ANSWER_ADDRESSES = 32;

export function combineAnswers(v6: FamilyAnswer, v4: FamilyAnswer): TimedAnswer {
  const both = [v6, v4];
  const records = both.flatMap((answer) => (answer.kind === 'found' ? answer.records : []));
  const addresses = records.flatMap(({ address }) => parseIp(address) ?? []).slice(0, MAX_ANSWER_ADDRESSES);
  const failed = both.find((answer) => answer.kind === 'failed');
  if (addresses.length > 0) {
    const ttlMs = 1000 * Math.min(...records.map(({ ttl }) => ttl));
    const most = failed ? PARTIAL_TTL_MS : MAX_TTL_MS;
    return { answer: { kind: 'addresses', addresses }, ttlMs: Math.min(Math.max(ttlMs, MIN_TTL_MS), most) };
  }
  if (both.some((answer) => answer.kind === 'unknown')) return fault('dial-name-unknown', '', NEGATIVE_TTL_MS);
  if (failed) return fault('dial-name-failed', failed.code, FAILURE_TTL_MS, failed.code === 'ESERVFAIL');
  return fault('dial-name-failed', 'the name has no address', NEGATIVE_TTL_MS);
}

function fault(name: WireFaultName, detail: string, ttlMs: number, next = true): TimedAnswer {
  return { answer: { kind: 'fault', fault: name, detail, next }, ttlMs };
}

/** Answers by name; the one used longest ago is dropped. */
export class DnsCache {
  private readonly entries: BoundedMap<string, { answer: Answer; until: number }>;

  constructor(mostEntries: number) {
    this.entries = new BoundedMap(mostEntries);
  }

  get size(): number {
    return this.entries.size;
  }

  get(name: string, now: number): Answer | undefined {
    const entry = this.entries.get(name);
    if (!entry) return undefined;
    if (now >= entry.until) {
      this.entries.delete(name);
      return undefined;
    }
    // It becomes the latest.
    this.entries.set(name, entry);
    return entry.answer;
  }

  set(name: string, { answer, ttlMs }: TimedAnswer, now: number): void {
    this.entries.set(name, { answer, until: now + ttlMs });
  }
}
