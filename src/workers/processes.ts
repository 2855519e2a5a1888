/**
 * The worker processes of a relay: started, replaced when they die, ended. This process has the listening sockets and
 * hands connections to the workers in turn (node:cluster), and has their hub. It opens no connection and reads none.
 */
import cluster, { type Worker } from 'node:cluster';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { type FaultName, WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { Backlog, followConnections, post } from './handed-connections.ts';
import { Hub } from './hub.ts';
import type { Envelope, WorkerEvent, WorkerId } from './messages.ts';
import { startEnvironment } from './worker-environment.ts';

/** A worker that died sooner than this after its start is replaced after a pause, ms: its start may be the cause. */
const SOON_MS = 3_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** After the time in which workers let their streams finish, ms: then they are killed. */
const KILL_MS = 5_000;

export interface WorkerProcessesOptions {
  readonly count: number;
  /** Worker number so and so serves, or has died. */
  readonly onChange: (worker: number, state: 'serving' | 'died', id: WorkerId) => void;
  /** None serves, and none can any more. */
  readonly onLost?: (error: WstunError) => void;
  /** Of all of them together: they read the same files, so one of them speaks for all. */
  readonly onEvent?: (event: WorkerEvent) => void;
  /** Listening sockets of this process, for workers to use. */
  readonly passed: readonly { readonly fd: number; readonly name: string }[];
  /** As of WorkerStart. */
  readonly adminPort?: number | undefined;
  readonly logger: Logger;
  readonly clock?: Clock;
}

interface Slot {
  readonly number: number;
  worker: Worker | undefined;
  id: WorkerId;
  generation: number;
  startedAt: number;
  pauseMs: number;
  restart: Timer | undefined;
}

export class WorkerProcesses {
  private readonly clock: Clock;
  private readonly hub: Hub;
  private readonly slots: Slot[];
  private readonly ready = new Set<WorkerId>();
  private readonly instance = randomBytes(16).toString('hex');
  private onReady: (worker: WorkerId, ready: unknown) => void = () => {};
  private onFailed: (error: WstunError) => void = () => {};
  private onEmpty: () => void = () => {};
  private directory = '';
  private closing = false;
  private hasServed = false;

  constructor(private readonly options: WorkerProcessesOptions) {
    this.clock = options.clock ?? systemClock;
    this.hub = new Hub({
      onReady: (worker, ready) => {
        this.ready.add(worker);
        this.hasServed = true;
        this.onReady(worker, ready);
        options.onChange(Number.parseInt(worker.slice(0, 2), 16), 'serving', worker);
      },
      onEvent: (worker, event) => {
        if ([...this.ready].every((each) => worker <= each)) options.onEvent?.(event);
      },
    });
    const blank = {
      worker: undefined,
      id: '',
      generation: 0,
      startedAt: 0,
      pauseMs: FIRST_PAUSE_MS,
      restart: undefined,
    };
    this.slots = Array.from({ length: options.count }, (_, number) => ({ ...blank, number }));
  }

  /**
   * The first worker alone, which makes what is missing in the state directory; then the others. Resolves with what the
   * first one says when it serves. @throws WstunError why it does not
   */
  async start(): Promise<unknown> {
    this.directory = await mkdtemp(join(tmpdir(), 'wstun-'));
    cluster.schedulingPolicy = cluster.SCHED_RR;
    const [first, ...others] = this.slots;
    const ready = await this.whenReady(() => first && this.fork(first)).catch(async (error: unknown) => {
      await this.close(0);
      throw error;
    });
    for (const slot of others) this.fork(slot);
    return ready;
  }

  /** How many serve. */
  get serving(): number {
    return this.ready.size;
  }

  /** As of Hub. */
  reports(of: string, limitMs: number): ReturnType<Hub['reports']> {
    return this.hub.reports(of, limitMs);
  }

  reload(): void {
    this.hub.tell({ note: 'reload' });
  }

  /** Resolves when all have ended. May be called again, to shorten the time. Never rejects. */
  async close(graceMs: number): Promise<void> {
    this.closing = true;
    for (const { restart } of this.slots) this.clock.clearTimeout(restart);
    this.hub.tell({ note: 'close', graceMs });
    const kill = this.clock.setTimeout(() => this.killAll(), graceMs + KILL_MS);
    if (this.slots.some(({ worker }) => worker !== undefined))
      await new Promise<void>((resolve) => {
        const before = this.onEmpty;
        this.onEmpty = () => {
          before();
          resolve();
        };
      });
    this.clock.clearTimeout(kill);
    this.hub.close();
    await rm(this.directory, { recursive: true, force: true }).catch(() => {});
  }

  private whenReady(begin: () => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.onReady = (_worker, ready) => {
        this.onReady = () => {};
        this.onFailed = () => {};
        resolve(ready);
      };
      this.onFailed = reject;
      begin();
    });
  }

  private fork(slot: Slot): void {
    slot.generation = (slot.generation + 1) % 256;
    slot.id = hex(slot.number) + hex(slot.generation);
    slot.startedAt = this.clock.now();
    const { id } = slot;
    const { count, passed, adminPort } = this.options;
    const start = { id, instance: this.instance, count, directory: this.directory, passed, adminPort };
    try {
      this.follow(slot, id, cluster.fork(startEnvironment(start)));
    } catch (error) {
      this.handleUnstarted(slot, id, String(error));
    }
  }

  private follow(slot: Slot, id: WorkerId, worker: Worker): void {
    slot.worker = worker;
    // Also of what could not be sent to one that has just died, whose end follows.
    worker.on('error', ({ message }) => {
      if (worker.process.pid === undefined) this.handleUnstarted(slot, id, message);
    });
    if (worker.process.pid === undefined) return;
    const dropInFlight = followConnections(worker.process);
    const backlog = new Backlog(() => this.handleStuck(slot), this.clock);
    const receive = this.hub.add(id, (envelope, socket) => post(worker.process, envelope, socket, backlog.add()));
    worker.on('message', (message: Envelope | Failure, socket?: Socket) => {
      if ('failed' in message) this.handleFailed(message);
      else receive(message, socket);
    });
    // Between both, connections are still handed to it.
    worker.on('disconnect', dropInFlight);
    worker.on('exit', (code, signal) => {
      dropInFlight();
      this.handleExit(slot, id, code, signal);
    });
  }

  private handleFailed({ failed: { fault, detail, fix } }: Failure): void {
    const error = new WstunError(fault, detail, { fix });
    // Why the first one cannot start is said by whoever has started it.
    if (this.hasServed) this.options.logger.error({ code: error.code }, `a worker cannot start: ${error.message}`);
    this.onFailed(error);
  }

  /** The system has no process for it. */
  private handleUnstarted(slot: Slot, id: WorkerId, reason: string): void {
    if (this.hasServed) this.options.logger.error({ worker: slot.number, reason }, 'a worker cannot be started');
    this.onFailed(new WstunError('internal', `a worker cannot be started: ${reason}`));
    this.handleExit(slot, id, null, null);
  }

  /** It is stopped, or in a loop. Exits and clients that it has go on at others. */
  private handleStuck({ number, worker }: Slot): void {
    this.options.logger.error({ worker: number }, 'a worker has read nothing for 30 s; it is killed');
    worker?.process.kill('SIGKILL');
  }

  private handleExit(slot: Slot, id: WorkerId, code: number | null, signal: string | null): void {
    slot.worker = undefined;
    this.ready.delete(id);
    this.hub.remove(id);
    this.onFailed(new WstunError('internal', `the first worker ended with ${signal ?? `code ${code}`}`));
    if (this.closing) {
      if (this.slots.every(({ worker }) => worker === undefined)) this.onEmpty();
      return;
    }
    this.options.onChange(slot.number, 'died', id);
    if (this.hasServed && this.ready.size === 0 && this.options.passed.length > 0) return this.handleLost();
    const isSoon = this.clock.now() - slot.startedAt < SOON_MS;
    const waitMs = isSoon ? slot.pauseMs : 0;
    slot.pauseMs = isSoon ? Math.min(2 * slot.pauseMs, LONGEST_PAUSE_MS) : FIRST_PAUSE_MS;
    this.options.logger.warn(
      { worker: slot.number, code, signal, waitMs },
      'a worker has died; another takes its place',
    );
    if (waitMs === 0) this.fork(slot);
    else slot.restart = this.clock.setTimeout(() => this.fork(slot), waitMs);
  }

  /** node:cluster has closed the passed sockets with the last worker: only whoever passed them still has them. */
  private handleLost(): void {
    this.options.onLost?.(new WstunError('workers-lost'));
  }

  private killAll(): void {
    for (const { worker } of this.slots) worker?.process.kill('SIGKILL');
  }
}

/** Of a worker that cannot start. */
export interface Failure {
  readonly failed: { readonly fault: FaultName; readonly detail: string; readonly fix: string };
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
