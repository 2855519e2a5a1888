/**
 * Watches a bucket of JetStream over one connection: begins anew where its consumer goes silent, leaves a gap, or has
 * not what the leader of the servers has. A server that cannot write, as on a full disk, serves consumers from its old
 * copy, with heartbeats and without an end.
 */
import { sleep } from '../async/abortable.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Logger } from '../observability/logger.ts';
import type { BucketHandler, BucketValue } from './bus.ts';
import type { Library } from './nats-connection.ts';
import type { JetStreamManager, Msg, NatsConnection } from './nats-library.ts';

/** JetStream sends something at least so often. */
const HEARTBEAT_MS = 2_000;
/** The server that had the consumer may have gone. What changes meanwhile is learnt so much later. */
const SILENT_MS = 2.5 * HEARTBEAT_MS;
/** After that a consumer that nobody listens to is removed. */
const FORGET_MS = 30_000;
const RETRY_MS = 500;
/** How often the servers' leader is asked for the last change. One that has not come by the next time is missing. */
const CHECK_MS = 5_000;

export interface WatchParts {
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly library: Library;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Why changes are not heard; undefined: they are. */
  readonly onFault: (error: unknown) => void;
}

export class BucketWatch {
  private readonly stream: string;
  private readonly prefix: string;
  private isStopped = false;
  private endOfTurn: () => void = () => {};
  /** A consumer that has not come so far has an old copy. 0: any may do. */
  private leastRevision = 0;

  constructor(
    private readonly bucket: string,
    private readonly handler: BucketHandler,
    private readonly parts: WatchParts,
  ) {
    this.stream = `KV_${bucket}`;
    this.prefix = `$KV.${bucket}.`;
    void this.run();
  }

  stop(): void {
    this.isStopped = true;
    this.endOfTurn();
  }

  private async run(): Promise<void> {
    while (!this.isStopped) {
      try {
        await this.turn();
      } catch (error) {
        this.parts.logger.debug({ bucket: this.bucket, reason: String(error) }, 'a bucket could not be watched');
        if (!this.isStopped) this.parts.onFault(error);
      }
      if (!this.isStopped) await sleep(this.parts.clock, RETRY_MS);
    }
  }

  /** Resolves when another consumer is needed, or after `stop`. */
  private async turn(): Promise<void> {
    const { connection, manager, library } = this.parts;
    // It may have expired, or the bucket may have been made anew.
    if (this.leastRevision > 0 && !(await this.has(this.leastRevision))) this.leastRevision = 0;
    if (this.isStopped) return;
    const inbox = library.createInbox();
    const over = new Promise<void>((resolve) => {
      this.endOfTurn = resolve;
    });
    const turn = new Turn(this.prefix, this.handler, this.parts, this.leastRevision, () => this.endOfTurn());
    const subscription = connection.subscribe(inbox, {
      callback: (error, message) => (error === null ? turn.handleMessage(message) : this.endOfTurn()),
    });
    try {
      const { num_pending: pending } = await manager.consumers.add(this.stream, this.consumerOf(inbox));
      if (this.isStopped) return;
      this.parts.onFault(undefined);
      turn.begin(pending);
      void this.check(turn);
      await over;
    } finally {
      turn.end();
      if (!connection.isClosed()) subscription.unsubscribe();
    }
  }

  /** Until the turn is over. */
  private async check(turn: Turn): Promise<void> {
    for (let last = 0; ; ) {
      await sleep(this.parts.clock, CHECK_MS);
      if (turn.isOver) return;
      try {
        if (last > turn.revision && (await this.has(last))) {
          this.leastRevision = last;
          return this.endOfTurn();
        }
        last = (await this.parts.manager.streams.info(this.stream)).state.last_seq;
        if (!turn.isOver) this.parts.onFault(undefined);
      } catch (error) {
        if (!turn.isOver) this.parts.onFault(error);
      }
    }
  }

  /** As the leader of the servers has it. */
  private async has(revision: number): Promise<boolean> {
    try {
      return (await this.parts.manager.streams.getMessage(this.stream, { seq: revision })) !== null;
    } catch (error) {
      if ((error as { readonly code?: number }).code === NO_MESSAGE) return false;
      throw error;
    }
  }

  private consumerOf(inbox: string) {
    const { AckPolicy, DeliverPolicy, nanos } = this.parts.library;
    return {
      deliver_subject: inbox,
      deliver_policy: DeliverPolicy.LastPerSubject,
      ack_policy: AckPolicy.None,
      filter_subject: `${this.prefix}>`,
      flow_control: true,
      idle_heartbeat: nanos(HEARTBEAT_MS),
      inactive_threshold: nanos(FORGET_MS),
      mem_storage: true,
      num_replicas: 1,
    };
  }
}

/** No message found (server/errors.json of nats-server). */
const NO_MESSAGE = 10_037;

/** What one consumer delivers. */
class Turn {
  /** Of the last value that has come. */
  revision = 0;
  isOver = false;
  /** Until all that the bucket held has come. */
  private snapshot: Map<string, BucketValue> | undefined = new Map();
  private delivered = 0;
  private silence: Timer | undefined;
  /** Messages may come before the answer that says how many there are. */
  private hasBegun = false;
  private isCaughtUp = false;

  constructor(
    private readonly prefix: string,
    private readonly handler: BucketHandler,
    private readonly parts: WatchParts,
    private readonly leastRevision: number,
    private readonly onBroken: () => void,
  ) {
    this.awaitNext();
  }

  /** @param pending values in the bucket when the consumer was made */
  begin(pending: number): void {
    this.hasBegun = true;
    if (pending === 0 || this.isCaughtUp) this.showSnapshot();
  }

  end(): void {
    this.isOver = true;
    this.parts.clock.clearTimeout(this.silence);
  }

  handleMessage(message: Msg): void {
    if (this.isOver) return;
    this.awaitNext();
    // Status 100: a heartbeat, or a question whether what was sent so far has arrived.
    if (message.headers?.code === 100) {
      const stalled = message.headers.get('Nats-Consumer-Stalled');
      if (message.reply) message.respond();
      else if (stalled !== undefined && stalled !== '') this.parts.connection.publish(stalled);
      return;
    }
    const at = placeIn(message.reply ?? '');
    if (at === undefined || at.delivery !== this.delivered + 1) return this.onBroken();
    this.delivered = at.delivery;
    this.revision = at.revision;
    const operation = message.headers?.get('KV-Operation') ?? '';
    const isValue = operation === '' || operation === 'PUT';
    const value = isValue ? { value: message.data, revision: at.revision } : undefined;
    this.take(message.subject.slice(this.prefix.length), value);
    this.isCaughtUp ||= at.pending === 0;
    if (this.hasBegun && this.isCaughtUp && this.snapshot !== undefined) this.showSnapshot();
  }

  private take(key: string, value: BucketValue | undefined): void {
    if (this.snapshot === undefined) this.handler.handleChange(key, value);
    else if (value === undefined) this.snapshot.delete(key);
    else this.snapshot.set(key, value);
  }

  private showSnapshot(): void {
    const { snapshot } = this;
    if (this.revision < this.leastRevision) return this.onBroken();
    this.snapshot = undefined;
    // A value that was removed leaves a message that says so.
    if (snapshot !== undefined) this.handler.handleSnapshot(snapshot, this.delivered === 0);
  }

  private awaitNext(): void {
    this.parts.clock.clearTimeout(this.silence);
    this.silence = this.parts.clock.setTimeout(this.onBroken, SILENT_MS).unref();
  }
}

interface Place {
  readonly revision: number;
  /** From 1, in the order in which the consumer sends. */
  readonly delivery: number;
  /** Messages that the consumer has still to send. */
  readonly pending: number;
}

/**
 * `$JS.ACK.STREAM.CONSUMER.DELIVERIES.SEQUENCE.DELIVERY.TIME.PENDING`; newer servers may put a domain and the hash of
 * an account before the stream, and more at the end (NATS ADR-15).
 */
function placeIn(reply: string): Place | undefined {
  const tokens = reply.split('.');
  if (tokens[0] !== '$JS' || tokens[1] !== 'ACK') return undefined;
  const first = tokens.length === 9 ? 5 : 7;
  const [revision, delivery, , pending] = tokens.slice(first, first + 4).map(Number);
  if (revision === undefined || delivery === undefined || pending === undefined) return undefined;
  return { revision, delivery, pending };
}
