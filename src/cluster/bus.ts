/**
 * What the relays of a cluster need of the system that connects them: messages by subject, and buckets of named values.
 * Only `nats-bus.ts` knows NATS. Nothing here keeps anything from working while the bus is away: requests then end at
 * once, and who watches a bucket still has what it held.
 */
import type { WstunError } from '../errors.ts';

/** Milliseconds are those of the calendar, since 1970. */
export interface BusState {
  /** Undefined while it is away. */
  readonly connectedSince: number | undefined;
  /** Since the start, or since the connection was lost; undefined while it is connected. */
  readonly awaySince: number | undefined;
  /** `HOST:PORT` of the server that is used. */
  readonly server: string | undefined;
  /** Why it is away, or why a part of it does not work. */
  readonly fault: WstunError | undefined;
}

/** What comes by a subject. */
export interface BusMessage {
  readonly data: Uint8Array;
  /** Answers a request; without effect for what is none, and while the bus is away. */
  respond(data: Uint8Array): void;
}

/** `nobody`: no one subscribes to that subject. `away`: there is no connection, or no answer came in time. */
export type NoAnswer = 'nobody' | 'away';

export interface BucketOptions {
  /** Values of that age are removed, ms. Default: never. */
  readonly maxAgeMs?: number;
}

export interface BucketValue {
  readonly value: Uint8Array;
  /** Grows with each change of the bucket. */
  readonly revision: number;
}

/** Calls come in the order of the changes. */
export interface BucketHandler {
  /**
   * All that the bucket holds: once for each time that the bus has come back, as keys may have gone meanwhile.
   * @param isBlank nothing was ever written to it, as far as the servers know
   */
  handleSnapshot(values: ReadonlyMap<string, BucketValue>, isBlank: boolean): void;
  /** A change after that. @param value undefined: it was removed */
  handleChange(key: string, value: BucketValue | undefined): void;
}

/** The methods that return promises reject with WstunError cluster-away where the bus does not do it in time. */
export interface Bucket {
  /** Whether it can be asked at once. What is asked of it otherwise waits for some seconds. */
  readonly isOpen: boolean;
  /** For as long as the bus is open. At most one for each bucket. */
  watch(handler: BucketHandler): void;
  get(key: string): Promise<BucketValue | undefined>;
  /** False: there is a value already. */
  create(key: string, value: Uint8Array): Promise<boolean>;
  put(key: string, value: Uint8Array): Promise<void>;
  /** False: it was changed since that revision. */
  update(key: string, value: Uint8Array, revision: number): Promise<boolean>;
  /** Without effect where there is none. @param revision as of `update` */
  remove(key: string, revision?: number): Promise<boolean>;
}

export interface Bus {
  readonly state: BusState;
  /** Called after each change of `connectedSince`. */
  onState(listener: () => void): void;
  /** Lasts across connections. Returns what ends it. */
  subscribe(subject: string, handler: (message: BusMessage) => void): () => void;
  /** Dropped while the bus is away. */
  publish(subject: string, data: Uint8Array): void;
  /** The first answer of those who subscribe. Never rejects. */
  request(subject: string, data: Uint8Array, limitMs: number): Promise<Uint8Array | NoAnswer>;
  /** The answers of all, as many as come in time; none while the bus is away. Never rejects. */
  gather(subject: string, data: Uint8Array, limitMs: number): Promise<readonly Uint8Array[]>;
  /** The same object for the same name; the options are those of the first call. It is made where it is missing. */
  bucket(name: string, options?: BucketOptions): Bucket;
  /** Resolves when what was published has left, or after a short time. */
  close(): Promise<void>;
}
