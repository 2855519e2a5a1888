/**
 * Where offers lead, as far as it matters for their turn, and what is remembered of it: which destinations answered
 * lately, and which were silent. Pure, time is passed in. A memory is one peer's: nobody can make others forget, or
 * doubt, what they use.
 */
import { BoundedMap } from '../limits/bounded-map.ts';
import { formatIp, type IpBytes, networkBase } from '../net/ip.ts';

/** What answers, or does not, as one. */
export interface Destination {
  readonly exact: string;
  /** What it is a part of, and after how much silence there, and no answer, it is doubted with it. */
  readonly around: readonly { readonly key: string; readonly silences: number }[];
}

/**
 * How much is to be expected of a destination; `tries`: silences and refusals for want of a place since it last
 * answered.
 */
export type Prospect =
  | { readonly kind: 'good' }
  /** Nothing is known of it, nor of what is around it. */
  | { readonly kind: 'fresh' }
  /** It was silent (`tries` above 0), or others around it were. */
  | { readonly kind: 'doubtful'; readonly tries: number };

/** A destination that is silent where others of its network are is no surprise; one or two are. */
const SILENCES_OF_NETWORK = 4;

/** A port of an address; around it are the host, and the network: a /24, or a /64 of IPv6. */
export function destinationOfAddress(ip: IpBytes, port: number): Destination {
  const bits = ip.length === 4 ? 24 : 64;
  const host = formatIp(ip);
  return {
    exact: `${host} ${port}`,
    around: [
      { key: host, silences: 1 },
      { key: `${formatIp(networkBase(ip, bits))}/${bits}`, silences: SILENCES_OF_NETWORK },
    ],
  };
}

/** A name, to be looked up; around it is the domain that it is in. */
export function destinationOfName(name: string): Destination {
  const domain = name.slice(name.indexOf('.'));
  return { exact: name, around: domain.startsWith('.') ? [{ key: domain, silences: SILENCES_OF_NETWORK }] : [] };
}

/**
 * How long an answer, or a silence, counts, ms: longer than it takes a loop over a thousand dead ones to come round.
 */
const HOLDS_MS = 600_000;
/** Entries of about 150 bytes, apart: what is silent does not make what answers forgotten. */
const MAX_ANSWERED = 1_024;
const MAX_SILENT = 4_096;
/** More tells no more. */
const MAX_TRIES = 100;

export class DestinationMemory {
  /** Exact ones, and until when that counts. */
  private readonly answered = new BoundedMap<string, number>(MAX_ANSWERED);
  /** Exact ones and what is around them. */
  private readonly silent = new BoundedMap<string, { readonly tries: number; readonly until: number }>(MAX_SILENT);

  get size(): number {
    return this.answered.size + this.silent.size;
  }

  /** Of an offer that has several addresses, the best of them. */
  prospectOf(destinations: readonly Destination[], now: number): Prospect {
    if (destinations.some(({ exact }) => (this.answered.get(exact) ?? 0) > now)) return { kind: 'good' };
    const tries = Math.min(...destinations.map(({ exact }) => this.triesOf(exact, now)));
    const isDoubted = ({ around }: Destination) =>
      around.some(({ key, silences }) => this.triesOf(key, now) >= silences);
    return tries > 0 || destinations.every(isDoubted) ? { kind: 'doubtful', tries } : { kind: 'fresh' };
  }

  noteAnswer(destinations: readonly Destination[], now: number): void {
    for (const { exact, around } of destinations) {
      this.answered.set(exact, now + HOLDS_MS);
      for (const key of [exact, ...around.map((each) => each.key)]) this.silent.delete(key);
    }
  }

  noteSilence(destinations: readonly Destination[], now: number): void {
    for (const { exact, around } of destinations) {
      this.answered.delete(exact);
      for (const key of [exact, ...around.map((each) => each.key)]) this.count(key, now);
    }
  }

  /** There was no place for it. */
  noteRefusal(destinations: readonly Destination[], now: number): void {
    for (const { exact } of destinations) this.count(exact, now);
  }

  private triesOf(key: string, now: number): number {
    const entry = this.silent.get(key);
    return entry !== undefined && entry.until > now ? entry.tries : 0;
  }

  private count(key: string, now: number): void {
    const tries = Math.min(MAX_TRIES, this.triesOf(key, now) + 1);
    this.silent.set(key, { tries, until: now + HOLDS_MS });
  }
}
