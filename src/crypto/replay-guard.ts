/**
 * Which tickets were used recently, by eight bytes of their nonces. Pure. It is not a rate limit (peer-link-rates.ts):
 * honest peers never fill it. If it is full, only peers with less than a fair share may use further tickets. A nonce is
 * never dropped before its time, because an old ticket would open again. Eight random bytes are enough: a peer that
 * makes two alike loses only a ticket of its own. So one guard serves all peers. The last eight bytes of a nonce are
 * not used: they may say for which relay the ticket is (audience.ts).
 */
import { type Fingerprint, FingerprintSet } from './fingerprint-set.ts';

export interface ReplayGuardLimits {
  /** How long a nonce is remembered at least. */
  readonly retentionMs: number;
  /** Nonces beyond which only peers below a fair share may add more: at most twice as many, 16 to 27 bytes each. */
  readonly nonces: number;
  /** How far back a used ticket is recognised that seems to come from a peer with a wrong clock. */
  readonly pastMs: number;
  /** Nonces for that: if there are more, the past is shorter. */
  readonly pastNonces: number;
}

/** 2,400 tickets a second without end: more than one process can open. */
const DEFAULT_NONCES = 1_048_576;
const DEFAULT_PAST_NONCES = 1_048_576;
const DEFAULT_RETENTION_MS = 360_000;
const DEFAULT_PAST_MS = 26 * 3_600_000;

/** The retention is three of four generations, the past 13 of 14: the oldest is dropped as a whole. */
const GENERATIONS = 4;
const PAST_GENERATIONS = 14;

/** What a nonce was used for: to open a link, or for a proof why not. Each has eight bytes of the nonce. */
export type Use = 'opened' | 'answered';

const OFFSET: Readonly<Record<Use, number>> = { opened: 0, answered: 8 };

export class ReplayGuard {
  private readonly limits: ReplayGuardLimits;
  private readonly recent: Generations;
  private readonly past: Generations;
  /** Peer to nonces in `recent`. */
  private readonly counts = new Map<string, number>();
  /** Peer to nonces of each generation of `recent`, the newest first. */
  private readonly countsOf: Map<string, number>[] = [];
  /** Called for each new nonce, to store it beyond this process. */
  onRemembered: (fingerprint: Fingerprint, now: number) => void = () => {};

  constructor(limits: Partial<ReplayGuardLimits> = {}) {
    this.limits = {
      retentionMs: DEFAULT_RETENTION_MS,
      nonces: DEFAULT_NONCES,
      pastMs: DEFAULT_PAST_MS,
      pastNonces: DEFAULT_PAST_NONCES,
      ...limits,
    };
    const { retentionMs, pastMs, pastNonces } = this.limits;
    this.recent = new Generations({ spanMs: retentionMs / (GENERATIONS - 1), keep: GENERATIONS });
    const spanMs = pastMs / (PAST_GENERATIONS - 1);
    this.past = new Generations({ spanMs, keep: PAST_GENERATIONS, most: pastNonces });
  }

  /** Nonces remembered, for either use. */
  get size(): number {
    return this.recent.size;
  }

  /** Tickets that were used before this time, milliseconds since 1970, may be unknown. */
  get pastSince(): number {
    return this.past.since;
  }

  /** Within the retention. */
  wasUsed(nonce: Buffer, use: Use): boolean {
    return this.recent.has(fingerprintOf(nonce, use));
  }

  /** Within the past, as far as it is known. */
  wasUsedBefore(nonce: Buffer, use: Use): boolean {
    const fingerprint = fingerprintOf(nonce, use);
    return this.recent.has(fingerprint) || this.past.has(fingerprint);
  }

  /** For a new nonce. False: the guard is full and the peer (undefined needs no share) has its share. */
  remember(nonce: Buffer, use: Use, peer: string | undefined, now: number): boolean {
    this.turn(now);
    if (this.size >= this.limits.nonces && !this.mayAdd(peer)) return false;
    this.add(fingerprintOf(nonce, use), now);
    if (peer !== undefined) this.count(peer);
    return true;
  }

  /** What an earlier process remembered, the oldest first. */
  restore(fingerprint: Fingerprint, at: number): void {
    this.turn(at);
    this.recent.add(fingerprint, at);
    this.past.add(fingerprint, at);
  }

  /** Tickets that were used before this may be unknown here. */
  forgetBefore(time: number): void {
    this.past.since = Math.max(this.past.since, time);
  }

  private mayAdd(peer: string | undefined): boolean {
    if (this.size >= 2 * this.limits.nonces) return false;
    if (peer === undefined) return true;
    const count = this.counts.get(peer) ?? 0;
    const active = this.counts.size + (count === 0 ? 1 : 0);
    return count < this.limits.nonces / active;
  }

  private add(fingerprint: Fingerprint, now: number): void {
    this.recent.add(fingerprint, now);
    this.past.add(fingerprint, now);
    this.onRemembered(fingerprint, now);
  }

  private count(peer: string): void {
    const newest = this.countsOf[0];
    newest?.set(peer, (newest.get(peer) ?? 0) + 1);
    this.counts.set(peer, (this.counts.get(peer) ?? 0) + 1);
  }

  private turn(now: number): void {
    const turned = this.recent.turn(now);
    for (let i = 0; i < turned; i++) this.countsOf.unshift(new Map());
    for (const old of this.countsOf.splice(GENERATIONS)) {
      for (const [peer, count] of old) this.discount(peer, count);
    }
    this.past.turn(now);
  }

  private discount(peer: string, by: number): void {
    const left = (this.counts.get(peer) ?? 0) - by;
    if (left > 0) this.counts.set(peer, left);
    else this.counts.delete(peer);
  }
}

interface GenerationOptions {
  /** Of one generation, milliseconds. */
  readonly spanMs: number;
  /** Generations. What is dropped is at least `keep - 1` spans old. */
  readonly keep: number;
  /** Fingerprints in all; the oldest generations are dropped early for that. */
  readonly most?: number;
}

/** Fingerprints by age. If the clock is set back, they are only kept longer. */
class Generations {
  /** The newest first. */
  private generations: { readonly began: number; readonly set: FingerprintSet }[] = [];
  /** All that was added after this is still there. */
  since = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: GenerationOptions) {}

  get size(): number {
    let size = 0;
    for (const { set } of this.generations) size += set.size;
    return size;
  }

  has(fingerprint: Fingerprint): boolean {
    return this.generations.some(({ set }) => set.has(fingerprint));
  }

  /** Call `turn` before. */
  add(fingerprint: Fingerprint, now: number): void {
    const { most = Number.POSITIVE_INFINITY, keep } = this.options;
    const newest = this.generations[0];
    if (newest === undefined || newest.set.size < most / keep) newest?.set.add(fingerprint);
    else this.begin(now)?.set.add(fingerprint);
  }

  /** Drops what is too old. Returns how many generations have begun. */
  turn(now: number): number {
    const began = this.generations[0]?.began;
    if (began !== undefined && now < began + this.options.spanMs) return 0;
    const passed = began === undefined ? 1 : Math.floor((now - began) / this.options.spanMs);
    const turned = Math.min(passed, this.options.keep);
    for (let i = turned - 1; i >= 0; i--) this.begin(now - i * this.options.spanMs);
    return turned;
  }

  private begin(began: number): { readonly set: FingerprintSet } | undefined {
    this.generations.unshift({ began, set: new FingerprintSet() });
    const { keep } = this.options;
    // What the dropped one holds was added before the oldest that is kept began.
    const oldest = this.generations[keep - 1];
    if (this.generations.length > keep && oldest !== undefined) this.since = Math.max(this.since, oldest.began);
    this.generations.length = Math.min(this.generations.length, keep);
    return this.generations[0];
  }
}

function fingerprintOf(nonce: Buffer, use: Use): Fingerprint {
  return { high: nonce.readUInt32BE(OFFSET[use]), low: nonce.readUInt32BE(OFFSET[use] + 4) };
}
