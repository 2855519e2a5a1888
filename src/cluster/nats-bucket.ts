/**
 * A bucket of JetStream, for as long as its bus is open: made where it is missing, and watched by a consumer of our
 * own. That of the KV package hears only after a minute that the server which had its consumer has gone.
 */
import { AbortableWait, sleep } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { Bucket, BucketHandler, BucketOptions, BucketValue } from './bus.ts';
import { BucketWatch } from './nats-bucket-watch.ts';
import type { Library } from './nats-connection.ts';
import type { JetStreamManager, KV, Kvm, NatsConnection } from './nats-library.ts';

/** For one answer of JetStream. */
const ANSWER_MS = 2_000;
/** Whoever asks waits so long for a bucket that is being opened, and while its servers elect a leader. */
const OPEN_MS = 4_000;
/** After one that failed. */
const RETRY_MS = 500;
/** While there are fewer copies than there may be: a server was away when the bucket was made. */
const SPREAD_MS = 15_000;
/** Status of an answer of JetStream, as of HTTP. */
const UNAVAILABLE = 503;
/** Most copies of a bucket that are of use: two of three servers may be lost in turn. */
const MAX_REPLICAS = 3;

interface NatsBucketOptions extends BucketOptions {
  readonly replicas: number | undefined;
  readonly logger: Logger;
  readonly clock?: Clock | undefined;
  /** Of JetStream; undefined: that part works. */
  readonly onFault: (part: BucketPart, fault: WstunError | undefined) => void;
}

/** What of a bucket works, or not, by itself. */
export type BucketPart = 'open' | 'watch' | 'values';

/** Of one connection. */
interface Opened {
  readonly kv: KV;
  readonly manager: JetStreamManager;
}

export class NatsBucket implements Bucket {
  private readonly clock: Clock;
  private connection: NatsConnection | undefined;
  private opened: Opened | undefined;
  private handler: BucketHandler | undefined;
  private watching: BucketWatch | undefined;
  /** The last question failed. */
  private isFaulty = false;
  /** There are as many copies as there may be. */
  private isSpread = false;
  /** Who asked before it was open. */
  private readonly waiting = new Set<AbortableWait<Opened>>();

  constructor(
    private readonly name: string,
    private readonly options: NatsBucketOptions,
    private readonly library: Library,
  ) {
    this.clock = options.clock ?? systemClock;
  }

  get isOpen(): boolean {
    return this.opened !== undefined;
  }

  handleUp(connection: NatsConnection): void {
    this.connection = connection;
    void this.open(connection);
  }

  handleDown(): void {
    this.connection = undefined;
    this.opened = undefined;
    this.isFaulty = false;
    this.watching?.stop();
    this.watching = undefined;
  }

  watch(handler: BucketHandler): void {
    this.handler = handler;
    this.beginWatch();
  }

  async get(key: string): Promise<BucketValue | undefined> {
    const found = await this.ask(({ kv }) => kv.get(key));
    return found?.operation === 'PUT' ? { value: found.value, revision: found.revision } : undefined;
  }

  async create(key: string, value: Uint8Array): Promise<boolean> {
    return await this.askUnlessChanged(({ kv }) => kv.create(key, value));
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    await this.ask(({ kv }) => kv.put(key, value));
  }

  async update(key: string, value: Uint8Array, revision: number): Promise<boolean> {
    return await this.askUnlessChanged(({ kv }) => kv.update(key, value, revision));
  }

  async remove(key: string, revision?: number): Promise<boolean> {
    const options = revision === undefined ? {} : { previousSeq: revision };
    return await this.askUnlessChanged(({ kv }) => kv.delete(key, options));
  }

  /** False: JetStream has another revision. */
  private async askUnlessChanged(question: (opened: Opened) => Promise<unknown>): Promise<boolean> {
    const isDone = async (opened: Opened): Promise<boolean> => {
      try {
        await question(opened);
        return true;
      } catch (error) {
        if (isWrongRevision(error)) return false;
        throw error;
      }
    };
    return await this.ask(isDone);
  }

  /** @throws WstunError cluster-away */
  private async ask<T>(question: (opened: Opened) => Promise<T>): Promise<T> {
    const lastAt = this.clock.now() + OPEN_MS - RETRY_MS;
    for (;;) {
      const opened = this.opened ?? (await this.whenOpen());
      try {
        const answer = await question(opened);
        if (this.isFaulty) this.noteFaulty(opened, undefined);
        return answer;
      } catch (error) {
        if (!isElection(error) || this.clock.now() > lastAt) throw this.failed(opened, error);
      }
      await sleep(this.clock, RETRY_MS);
    }
  }

  private failed(opened: Opened, error: unknown): WstunError {
    const fault = this.faultOf(error);
    this.noteFaulty(opened, fault);
    return fault;
  }

  /** What an earlier connection had says nothing of this one. */
  private noteFaulty(opened: Opened, fault: WstunError | undefined): void {
    if (this.opened !== opened) return;
    this.isFaulty = fault !== undefined;
    this.options.onFault('values', fault);
  }

  /** @throws WstunError cluster-away */
  private async whenOpen(): Promise<Opened> {
    const wait = new AbortableWait<Opened>({
      clock: this.clock,
      limitMs: OPEN_MS,
      onExpired: () => wait.reject(new WstunError('cluster-away', `the bucket ${this.name} is not open`)),
      onSettled: () => this.waiting.delete(wait),
    });
    this.waiting.add(wait);
    return await wait.promise;
  }

  /** Until it is open, or the connection is lost. */
  private async open(connection: NatsConnection): Promise<void> {
    while (this.connection === connection) {
      try {
        const opened = await this.openOnce(connection);
        if (this.connection !== connection) return;
        this.opened = opened;
        void this.spreadLater(opened);
        this.options.onFault('open', undefined);
        for (const wait of [...this.waiting]) wait.resolve(opened);
        return this.beginWatch();
      } catch (error) {
        if (this.connection !== connection) return;
        this.options.onFault('open', this.faultOf(error, true));
        await sleep(this.clock, RETRY_MS);
      }
    }
  }

  /** A bucket that was there is away with the majority of its servers, which looks like no JetStream. */
  private faultOf(error: unknown, isOpening = false): WstunError {
    // Of questions, the library hands it on as another error.
    const isRefused = /Permissions Violation/i.test(textOf(error));
    const isMissing = isOpening && error instanceof Error && error.name === 'JetStreamNotEnabled';
    const fault = isRefused ? 'cluster-refused' : isMissing ? 'cluster-no-jetstream' : 'cluster-away';
    return new WstunError(fault, `the bucket ${this.name}: ${textOf(error)}`, { cause: error });
  }

  /** One question where the bucket is there: while its servers elect a leader, each costs seconds. */
  private async openOnce(connection: NatsConnection): Promise<Opened> {
    const { jetstreamManager, Kvm } = this.library;
    const manager = await jetstreamManager(connection, { timeout: ANSWER_MS, checkAPI: false });
    const kvm = new Kvm(manager.jetstream());
    const stream = `KV_${this.name}`;
    try {
      const { config } = await manager.streams.info(stream);
      await this.spread(manager, stream, config.num_replicas);
      return { kv: await kvm.open(this.name), manager };
    } catch (error) {
      if (codeOf(error) !== NO_STREAM) throw error;
      return { kv: await this.make(kvm), manager };
    }
  }

  private async make(kvm: Kvm): Promise<KV> {
    const { StorageType } = this.library;
    const { maxAgeMs: ttl, replicas } = this.options;
    // On the servers' disks: they may all be started anew while a ticket is valid.
    const common = { history: 1, storage: StorageType.File, ...(ttl && { ttl }) };
    try {
      return await kvm.create(this.name, { ...common, replicas: replicas ?? MAX_REPLICAS });
    } catch (error) {
      // Fewer servers than that: one copy, as two would both be needed at any time.
      if (replicas !== undefined || !isTooManyReplicas(error)) throw error;
      return await kvm.create(this.name, { ...common, replicas: 1 });
    }
  }

  /** It may have been made when there were fewer servers. */
  private async spread(manager: JetStreamManager, stream: string, replicas: number): Promise<void> {
    const wanted = this.options.replicas ?? MAX_REPLICAS;
    if (replicas >= wanted) this.isSpread = true;
    if (this.isSpread) return;
    try {
      await manager.streams.update(stream, { num_replicas: wanted });
      this.isSpread = true;
    } catch (error) {
      this.isSpread = codeOf(error) === NOT_CLUSTERED;
      this.options.logger.debug({ bucket: this.name, reason: textOf(error) }, 'a bucket has fewer copies than it may');
    }
  }

  /** One copy would be lost with its server. */
  private async spreadLater(opened: Opened): Promise<void> {
    while (!this.isSpread) {
      await sleep(this.clock, SPREAD_MS);
      if (this.opened !== opened) return;
      try {
        const { config } = await opened.manager.streams.info(`KV_${this.name}`);
        await this.spread(opened.manager, `KV_${this.name}`, config.num_replicas);
      } catch (error) {
        this.options.logger.debug({ bucket: this.name, reason: textOf(error) }, 'a bucket gave no answer');
      }
    }
  }

  private beginWatch(): void {
    const { connection, opened, handler } = this;
    if (connection === undefined || opened === undefined || handler === undefined) return;
    this.watching?.stop();
    const { logger } = this.options;
    const { library, clock } = this;
    const onFault = (error: unknown) =>
      this.options.onFault('watch', error === undefined ? undefined : this.faultOf(error));
    this.watching = new BucketWatch(this.name, handler, { connection, ...opened, library, logger, clock, onFault });
  }
}

/**
 * The servers have no leader just now, and say so: nothing was done. A question without an answer may have been, so it
 * is not among them.
 */
function isElection(error: unknown): boolean {
  const { status, name } = error as { readonly status?: number; readonly name?: string };
  return status === UNAVAILABLE || name === 'JetStreamNotEnabled' || name === 'NoResponders';
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Of the error that an answer of JetStream has (server/errors.json of nats-server). */
function codeOf(error: unknown): number | undefined {
  return (error as { readonly code?: number }).code;
}

/** Stream not found. */
const NO_STREAM = 10_059;

function isWrongRevision(error: unknown): boolean {
  return codeOf(error) === 10_071 || codeOf(error) === 10_164;
}

/** Replicas > 1 not supported in non-clustered mode. */
const NOT_CLUSTERED = 10_074;

/** Or: no suitable peers for placement. */
function isTooManyReplicas(error: unknown): boolean {
  return codeOf(error) === 10_005 || codeOf(error) === NOT_CLUSTERED;
}
