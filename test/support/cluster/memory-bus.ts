/**
 * A bus between objects of one process, for tests in virtual time: what `nats-bus.ts` promises, without NATS. A test can
 * cut one bus off, and lose what the buckets hold.
 */
import type {
  Bucket,
  BucketHandler,
  BucketOptions,
  BucketValue,
  Bus,
  BusMessage,
  BusState,
  NoAnswer,
} from '../../../src/cluster/bus.ts';
import { WstunError } from '../../../src/errors.ts';
import type { VirtualClock } from '../time/virtual-clock.ts';

interface Subscribed {
  readonly bus: MemoryBus;
  readonly subject: string;
  readonly handler: (message: BusMessage) => void;
}

/** Where the buses meet. */
export class MemoryHub {
  readonly subscribed = new Set<Subscribed>();
  readonly buses = new Set<MemoryBus>();
  readonly values = new Map<string, Map<string, BucketValue>>();
  /** All that was written, bytes; and what was sent by subjects. */
  written = 0;
  published = 0;
  /** Buckets to which something was ever written. */
  readonly used = new Set<string>();
  private revision = 0;

  constructor(readonly clock: VirtualClock) {}

  connect(): MemoryBus {
    const bus = new MemoryBus(this);
    this.buses.add(bus);
    return bus;
  }

  bucket(name: string): Map<string, BucketValue> {
    const known = this.values.get(name) ?? new Map<string, BucketValue>();
    this.values.set(name, known);
    return known;
  }

  write(bucket: string, key: string, value: Uint8Array | undefined): void {
    this.revision += 1;
    this.written += value?.length ?? 0;
    this.used.add(bucket);
    const values = this.bucket(bucket);
    const stored = value && { value, revision: this.revision };
    if (stored === undefined) values.delete(key);
    else values.set(key, stored);
    for (const bus of this.buses) bus.hear(bucket, key, stored);
  }

  /** To all. */
  deliver(subject: string, message: BusMessage): number {
    this.published += message.data.length;
    const found = [...this.subscribed].filter((each) => each.subject === subject && each.bus.isConnected);
    for (const { handler } of found) queueMicrotask(() => handler(message));
    return found.length;
  }
}

export class MemoryBus implements Bus {
  isConnected = true;
  private readonly listeners: (() => void)[] = [];
  private readonly opened = new Map<string, MemoryBucket>();

  constructor(private readonly hub: MemoryHub) {}

  get state(): BusState {
    const at = this.hub.clock.wallTime();
    const [connectedSince, awaySince] = this.isConnected ? [at, undefined] : [undefined, at];
    return { connectedSince, awaySince, server: this.isConnected ? 'memory:0' : undefined, fault: undefined };
  }

  cut(): void {
    this.isConnected = false;
    for (const listener of this.listeners) listener();
  }

  mend(): void {
    this.isConnected = true;
    for (const listener of this.listeners) listener();
    for (const bucket of this.opened.values()) bucket.showSnapshot();
  }

  onState(listener: () => void): void {
    this.listeners.push(listener);
  }

  subscribe(subject: string, handler: (message: BusMessage) => void): () => void {
    const subscribed = { bus: this, subject, handler };
    this.hub.subscribed.add(subscribed);
    return () => this.hub.subscribed.delete(subscribed);
  }

  publish(subject: string, data: Uint8Array): void {
    if (this.isConnected) this.hub.deliver(subject, { data, respond: () => {} });
  }

  request(subject: string, data: Uint8Array, limitMs: number): Promise<Uint8Array | NoAnswer> {
    if (!this.isConnected) return Promise.resolve('away');
    return new Promise((resolve) => {
      const timer = this.hub.clock.setTimeout(() => resolve('away'), limitMs);
      const respond = (answer: Uint8Array): void => {
        this.hub.clock.clearTimeout(timer);
        this.hub.published += answer.length;
        resolve(answer);
      };
      if (this.hub.deliver(subject, { data, respond }) > 0) return;
      this.hub.clock.clearTimeout(timer);
      resolve('nobody');
    });
  }

  gather(subject: string, data: Uint8Array, limitMs: number): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = [];
    if (this.isConnected) this.hub.deliver(subject, { data, respond: (answer) => void found.push(answer) });
    return new Promise((resolve) => this.hub.clock.setTimeout(() => resolve(found), limitMs));
  }

  bucket(name: string, _options: BucketOptions = {}): MemoryBucket {
    const known = this.opened.get(name) ?? new MemoryBucket(this, this.hub, name);
    this.opened.set(name, known);
    return known;
  }

  /** A change of a bucket has been written. */
  hear(bucket: string, key: string, value: BucketValue | undefined): void {
    if (this.isConnected) this.opened.get(bucket)?.show(key, value);
  }

  async close(): Promise<void> {
    this.isConnected = false;
  }
}

export class MemoryBucket implements Bucket {
  /** So many writes fail as if their answers were lost: they have had effect. */
  lostAnswers = 0;
  /** So many calls of `put` fail without any effect. */
  failures = 0;
  private handler: BucketHandler | undefined;

  constructor(
    private readonly bus: MemoryBus,
    private readonly hub: MemoryHub,
    private readonly name: string,
  ) {}

  get isOpen(): boolean {
    return this.bus.isConnected;
  }

  watch(handler: BucketHandler): void {
    this.handler = handler;
    queueMicrotask(() => this.showSnapshot());
  }

  show(key: string, value: BucketValue | undefined): void {
    this.handler?.handleChange(key, value);
  }

  showSnapshot(): void {
    if (!this.bus.isConnected) return;
    this.handler?.handleSnapshot(new Map(this.values), !this.hub.used.has(this.name));
  }

  async get(key: string): Promise<BucketValue | undefined> {
    this.require();
    return this.values.get(key);
  }

  async create(key: string, value: Uint8Array): Promise<boolean> {
    return this.write(key, value, undefined);
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    this.require();
    if (this.failures > 0) {
      this.failures -= 1;
      throw new WstunError('cluster-away', 'no leader');
    }
    this.hub.write(this.name, key, value);
  }

  async update(key: string, value: Uint8Array, revision: number): Promise<boolean> {
    return this.write(key, value, revision);
  }

  async remove(key: string, revision = this.values.get(key)?.revision): Promise<boolean> {
    return this.write(key, undefined, revision);
  }

  private get values(): Map<string, BucketValue> {
    return this.hub.bucket(this.name);
  }

  private write(key: string, value: Uint8Array | undefined, revision: number | undefined): boolean {
    this.require();
    if (this.values.get(key)?.revision !== revision) return false;
    this.hub.write(this.name, key, value);
    if (this.lostAnswers === 0) return true;
    this.lostAnswers -= 1;
    throw new WstunError('cluster-away', 'timeout');
  }

  private require(): void {
    if (!this.bus.isConnected) throw new WstunError('cluster-away');
  }
}
