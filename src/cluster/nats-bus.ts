/** A bus over NATS: subjects are its subjects, buckets are those of JetStream, as `nats kv` shows them. */
import type { Clock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { BucketOptions, Bus, BusMessage, BusState, NoAnswer } from './bus.ts';
import { type BucketPart, NatsBucket } from './nats-bucket.ts';
import { type ConnectionEvents, type Library, NatsKeeper, type NatsOptions } from './nats-connection.ts';
import type { Msg, NatsConnection } from './nats-library.ts';

interface Subscribed {
  readonly subject: string;
  readonly handler: (message: BusMessage) => void;
  /** Ends that of the present connection. */
  end: () => void;
}

export interface NatsBusOptions extends NatsOptions {
  /** Of each bucket that is made; default: as many as the servers offer, 3 at most. */
  readonly replicas?: number | undefined;
  readonly logger: Logger;
  readonly clock?: Clock;
}

/** Loads NATS, and begins to connect. @throws WstunError cluster-file-unusable */
export async function openNatsBus(options: NatsBusOptions): Promise<Bus> {
  const bus = new NatsBus(options, await import('./nats-library.ts'));
  await bus.start();
  return bus;
}

class NatsBus implements Bus, ConnectionEvents {
  private readonly keeper: NatsKeeper;
  private connection: NatsConnection | undefined;
  private readonly subscribed = new Set<Subscribed>();
  private readonly buckets = new Map<string, NatsBucket>();
  private readonly listeners: (() => void)[] = [];
  /** What does not work over the present connection, by subject, or bucket and its part. */
  private readonly faults = new Map<string, WstunError>();

  constructor(
    private readonly options: NatsBusOptions,
    private readonly library: Library,
  ) {
    this.keeper = new NatsKeeper(options, library, this, options.logger, options.clock);
  }

  get state(): BusState {
    return this.keeper.state;
  }

  start(): Promise<void> {
    return this.keeper.start();
  }

  onState(listener: () => void): void {
    this.listeners.push(listener);
  }

  subscribe(subject: string, handler: (message: BusMessage) => void): () => void {
    const subscribed: Subscribed = { subject, handler, end: () => {} };
    this.subscribed.add(subscribed);
    this.begin(subscribed);
    return () => {
      this.subscribed.delete(subscribed);
      subscribed.end();
    };
  }

  publish(subject: string, data: Uint8Array): void {
    this.attempt((connection) => connection.publish(subject, data));
  }

  async request(subject: string, data: Uint8Array, limitMs: number): Promise<Uint8Array | NoAnswer> {
    try {
      return (await this.connection?.request(subject, data, { timeout: limitMs }))?.data ?? 'away';
    } catch (error) {
      const isNobody = error instanceof this.library.errors.RequestError && error.isNoResponders();
      return isNobody ? 'nobody' : 'away';
    }
  }

  async gather(subject: string, data: Uint8Array, limitMs: number): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = [];
    try {
      const options = { strategy: 'timer', maxWait: limitMs } as const;
      const answers = await this.connection?.requestMany(subject, data, options);
      if (answers !== undefined) for await (const { data } of answers) found.push(data);
    } catch {
      // Nobody subscribes, or the connection was lost: what has come counts.
    }
    return found;
  }

  bucket(name: string, options: BucketOptions = {}): NatsBucket {
    const known = this.buckets.get(name);
    if (known !== undefined) return known;
    const { replicas, logger, clock } = this.options;
    const onFault = (part: BucketPart, fault: WstunError | undefined) => this.noteFault(`${part} ${name}`, fault);
    const bucket = new NatsBucket(name, { ...options, replicas, logger, clock, onFault }, this.library);
    this.buckets.set(name, bucket);
    if (this.connection !== undefined) bucket.handleUp(this.connection);
    return bucket;
  }

  async close(): Promise<void> {
    await this.keeper.close();
  }

  handleUp(connection: NatsConnection): void {
    this.connection = connection;
    this.faults.clear();
    for (const subscribed of this.subscribed) this.begin(subscribed);
    for (const bucket of this.buckets.values()) bucket.handleUp(connection);
    for (const listener of this.listeners) listener();
  }

  handleDown(): void {
    this.connection = undefined;
    for (const bucket of this.buckets.values()) bucket.handleDown();
    for (const listener of this.listeners) listener();
  }

  private begin(subscribed: Subscribed): void {
    const { subject, handler } = subscribed;
    this.attempt((connection) => {
      const callback = (error: Error | null, message: Msg): void => {
        if (error !== null) return this.noteRefused(subject, error);
        handler({ data: message.data, respond: (data) => this.attempt(() => message.respond(data)) });
      };
      const subscription = connection.subscribe(subject, { callback });
      subscribed.end = () => this.attempt(() => subscription.unsubscribe());
    });
  }

  /** The account of the login has no such permission. */
  private noteRefused(subject: string, error: Error): void {
    this.noteFault(subject, new WstunError('cluster-refused', `${subject}: ${error.message}`));
  }

  /** One part that works does not hide that another one does not. */
  private noteFault(part: string, fault: WstunError | undefined): void {
    if (this.connection === undefined) return;
    if (fault === undefined) this.faults.delete(part);
    else this.faults.set(part, fault);
    const [first] = this.faults.values();
    this.keeper.noteFault(first);
  }

  /** A connection that has just been lost throws. */
  private attempt(work: (connection: NatsConnection) => void): void {
    if (this.connection === undefined) return;
    try {
      work(this.connection);
    } catch (error) {
      this.options.logger.debug({ reason: String(error) }, 'the cluster did not take a message');
    }
  }
}
