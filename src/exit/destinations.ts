/**
 * The destinations of offers, as far as the order of dials depends on them, and a memory of which answered lately and
 * which were silent. Pure, time is passed in. Each peer has a memory of its own: no peer can make others forget, or
 * doubt, what they use.
 */
import { BoundedMap } from '../limits/bounded-map.ts';
import { formatIp, type IpBytes, networkBase } from '../net/ip.ts';

/** One destination of an offer. */
export interface Destination {
  readonly exact: string;
  /** What it is part of; after so many silences there without an answer, it is doubtful, too. */
  readonly around: readonly { readonly key: string; readonly silences: number }[];
}

/** What to expect of a destination; `tries`: silences and refusals for lack of a slot since its last answer. */
export type Prospect =
  | { readonly kind: 'good' }
  /** Nothing is known about it, or about what is around it. */
  | { readonly kind: 'fresh' }
  /** It was silent (`tries` above 0), or others around it were. */
  | { readonly kind: 'doubtful'; readonly tries: number };

/** So many silent destinations make a network doubtful; one or two do not. */
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

/** How long an answer or a silence counts, ms: longer than one pass of a program through a thousand dead ones. */
const HOLDS_MS = 600_000;
/** Entries of about 150 bytes. Separate limits: silent destinations do not displace those that answered. */
const MAX_ANSWERED = 1_024;
const MAX_SILENT = 4_096;
/** More would make no difference. */
const MAX_TRIES = 100;

export class DestinationMemory {
  /** By exact destination: until when it counts. */
  private readonly answered = new BoundedMap<string, number>(MAX_ANSWERED);
  /** By exact destination, and by what is around it. */
  private readonly silent = new BoundedMap<string, { readonly tries: number; readonly until: number }>(MAX_SILENT);

  get size(): number {
    return this.answered.size + this.silent.size;
  }

  /** Of several addresses, the best. */
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

  /** There was no slot for it. */
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
