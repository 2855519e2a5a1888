/**
 * A TCP proxy on loopback that does to connections what networks do: it delays, thins, slices, swallows and cuts them.
 * Knows nothing of what they carry. Two runs with one seed slice alike; time is the machine's.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { prng } from '../prng.ts';
import { atEnd } from '../scope.ts';

/** `up`: from whoever connected, to the target. */
export type Direction = 'up' | 'down';

export interface ChaosShape {
  /** One way, ms. The connecting itself is not delayed: the kernel does it. */
  readonly delayMs: number;
  /** Each way, for each connection; Infinity: no limit. */
  readonly bytesPerSecond: number;
  /** Whether bytes go on in pieces of 1 to 64, one a turn of the event loop. */
  readonly slice: boolean;
  /** Each way: with so many bytes waiting here, the sender is not read. One read more may come. */
  readonly queueBytes: number;
}

export interface ChaosOptions extends Partial<ChaosShape> {
  readonly target: { readonly host: string; readonly port: number };
  readonly seed: number;
}

export interface ChaosProxy {
  readonly port: number;
  /** Accepted so far. */
  readonly connections: number;
  /** Open now. */
  readonly open: number;
  /** Ended by `cutAfter` so far. */
  readonly cuts: number;
  /** Forwarded so far. */
  readonly bytes: Readonly<Record<Direction, number>>;
  /** In how many pieces that was. */
  readonly pieces: Readonly<Record<Direction, number>>;
  /** Resets every connection, on both sides; what waits here is lost. */
  resetAll(): void;
  /**
   * The next connection is reset on both sides when exactly `bytes` have been forwarded in that direction, and the
   * receiver's kernel has them (where that is Linux, and takes them within 2 s). With both directions given, whichever
   * comes first.
   */
  cutAfter(bytes: number, direction: Direction): void;
  /**
   * From now on nothing is forwarded, neither bytes nor ends; of each socket one read at most still comes here. New
   * connections are accepted and then held as well, or reset.
   */
  hold(newConnections?: 'hold' | 'reset'): void;
  /** All that was held goes on, later by as long as it was held. */
  release(): void;
  /** Also for connections that stand. */
  shape(changes: Partial<ChaosShape>): void;
  /** Resets what is open and stops listening; also done when the test is over. */
  close(): Promise<void>;
}

const PLAIN: ChaosShape = {
  delayMs: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  slice: false,
  queueBytes: 256 * 1024,
};
const LARGEST_SLICE = 64;
/** A piece is what passes in so many ms. */
const PIECE_MS = 5;
/** The depth of the token bucket: late timers lose nothing. */
const BURST_MS = 10;
const ACKNOWLEDGED_LIMIT_MS = 2_000;
/** Within the first window of a connection on loopback: a write returns when they are in the receiver's queue. */
const DELIVERED_BYTES = 32 * 1024;

/** Until the test is over. */
export async function startChaosProxy({ target, seed, ...shape }: ChaosOptions): Promise<ChaosProxy> {
  const chaos = new Chaos(target, seed, { ...PLAIN, ...shape });
  await chaos.listen();
  atEnd(() => chaos.close());
  return chaos;
}

/** Stands still while everything is held. */
class Clock {
  private heldSince: number | undefined;
  private heldMs = 0;

  get held(): boolean {
    return this.heldSince !== undefined;
  }

  now(): number {
    return (this.heldSince ?? performance.now()) - this.heldMs;
  }

  hold(): void {
    this.heldSince ??= performance.now();
  }

  release(): void {
    if (this.heldSince !== undefined) this.heldMs += performance.now() - this.heldSince;
    this.heldSince = undefined;
  }
}

type Plan = Readonly<Partial<Record<Direction, number>>>;

class Chaos implements ChaosProxy {
  readonly clock = new Clock();
  readonly bytes = { up: 0, down: 0 };
  readonly pieces = { up: 0, down: 0 };
  connections = 0;
  cuts = 0;
  readonly target: ChaosOptions['target'];
  readonly seed: number;
  current: ChaosShape;
  private readonly server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
  private readonly openConnections = new Set<Connection>();
  /** Accepted while everything was held; not dialled yet. */
  private readonly waiting = new Map<Socket, Plan>();
  private plan: Plan = {};
  private newConnections: 'hold' | 'reset' = 'hold';

  constructor(target: ChaosOptions['target'], seed: number, shape: ChaosShape) {
    this.target = target;
    this.seed = seed;
    this.current = shape;
    this.server.on('connection', (near) => this.handle(near));
  }

  async listen(): Promise<void> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get open(): number {
    return this.openConnections.size + this.waiting.size;
  }

  resetAll(): void {
    for (const connection of [...this.openConnections]) connection.reset();
    for (const near of this.waiting.keys()) near.resetAndDestroy();
    this.waiting.clear();
  }

  cutAfter(bytes: number, direction: Direction): void {
    this.plan = { ...this.plan, [direction]: bytes };
  }

  hold(newConnections: 'hold' | 'reset' = 'hold'): void {
    this.newConnections = newConnections;
    this.clock.hold();
    for (const connection of this.openConnections) connection.each((pipe) => pipe.hold());
  }

  release(): void {
    this.clock.release();
    const waiting = [...this.waiting];
    this.waiting.clear();
    for (const [near, plan] of waiting) this.begin(near, plan);
    for (const connection of this.openConnections) connection.each((pipe) => pipe.release());
  }

  shape(changes: Partial<ChaosShape>): void {
    this.current = { ...this.current, ...changes };
    for (const connection of this.openConnections) connection.each((pipe) => pipe.reconsider());
  }

  async close(): Promise<void> {
    const closed = this.server.listening ? once(this.server, 'close') : undefined;
    this.server.close();
    this.resetAll();
    await closed;
  }

  private handle(near: Socket): void {
    this.connections += 1;
    near.on('error', () => {});
    if (this.clock.held && this.newConnections === 'reset') {
      near.resetAndDestroy();
      return;
    }
    const plan = this.plan;
    this.plan = {};
    if (!this.clock.held) return this.begin(near, plan);
    this.waiting.set(near, plan);
    near.once('close', () => this.waiting.delete(near));
  }

  private begin(near: Socket, plan: Plan): void {
    if (near.destroyed) return;
    const connection: Connection = new Connection(this, near, plan, () => this.openConnections.delete(connection));
    this.openConnections.add(connection);
  }
}

class Connection {
  private readonly near: Socket;
  private readonly far: Socket;
  private readonly pipes: readonly Pipe[];

  constructor(chaos: Chaos, near: Socket, plan: Plan, onEnd: () => void) {
    this.near = near;
    this.far = connect({ ...chaos.target, allowHalfOpen: true, noDelay: true });
    this.far.on('error', () => {});
    const onCut = (): void => {
      chaos.cuts += 1;
      this.reset();
    };
    this.pipes = [
      new Pipe(chaos, 'up', near, this.far, plan.up, onCut),
      new Pipe(chaos, 'down', this.far, near, plan.down, onCut),
    ];
    let sockets = 2;
    const onClose = (): void => {
      sockets -= 1;
      if (sockets === 0) onEnd();
    };
    for (const socket of [near, this.far]) socket.once('close', onClose);
    near.resume();
    this.far.once('connect', () => this.each((pipe) => pipe.reconsider()));
  }

  each(act: (pipe: Pipe) => void): void {
    for (const pipe of this.pipes) act(pipe);
  }

  reset(): void {
    this.each((pipe) => pipe.stop());
    for (const socket of [this.near, this.far]) {
      if (socket.connecting) socket.destroy();
      else if (!socket.destroyed) socket.resetAndDestroy();
    }
  }
}

/** What waits: bytes, or the end of the direction behind them. */
interface Item {
  readonly at: number;
  readonly bytes: Buffer;
  readonly end?: 'finish' | 'reset';
}

/** One direction of one connection. */
class Pipe {
  private readonly chaos: Chaos;
  private readonly direction: Direction;
  private readonly from: Socket;
  private readonly to: Socket;
  private readonly onCut: () => void;
  private readonly random: ReturnType<typeof prng>;
  private readonly queue: Item[] = [];
  private queuedBytes = 0;
  private readonly cutAt: number;
  /** Until the cut. */
  private left: number;
  private sliceLeft = 0;
  /** When the bytes before have passed the rate limit, on the clock that can be held. */
  private freeAt = Number.NEGATIVE_INFINITY;
  /** Of the next piece; fixed when it could first go. */
  private departsAt: number | undefined;
  private writing = false;
  private stopped = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    chaos: Chaos,
    direction: Direction,
    from: Socket,
    to: Socket,
    cut: number | undefined,
    onCut: () => void,
  ) {
    this.chaos = chaos;
    this.direction = direction;
    this.from = from;
    this.to = to;
    this.onCut = onCut;
    this.cutAt = cut ?? Number.POSITIVE_INFINITY;
    this.left = this.cutAt;
    this.random = prng(chaos.seed ^ Math.imul(chaos.connections * 2 + (direction === 'up' ? 0 : 1), 0x9e37_79b1));
    from.on('data', (bytes: Buffer) => this.take({ at: chaos.clock.now(), bytes }));
    from.once('end', () => this.takeEnd());
    from.once('close', (failed) => {
      if (failed) this.take({ at: chaos.clock.now(), bytes: Buffer.alloc(0), end: 'reset' });
    });
  }

  hold(): void {
    this.from.pause();
  }

  release(): void {
    this.readOn();
    this.pump();
  }

  /** Something has changed that decides when the next piece goes. */
  reconsider(): void {
    this.departsAt = undefined;
    this.readOn();
    this.pump();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private take(item: Item): void {
    if (this.stopped) return;
    this.queue.push(item);
    this.queuedBytes += item.bytes.length;
    if (this.queuedBytes >= this.chaos.current.queueBytes || this.chaos.clock.held) this.from.pause();
    this.pump();
  }

  /**
   * Node 20 takes a reset right behind data for an end, but on such a connection even a write of nothing fails; then it
   * closes.
   */
  private takeEnd(): void {
    const finish: Item = { at: this.chaos.clock.now(), bytes: Buffer.alloc(0), end: 'finish' };
    if (!this.from.writable) return this.take(finish);
    this.from.write(new Uint8Array(0), (error) => {
      if (!error) this.take(finish);
    });
  }

  private readOn(): void {
    const { clock, current } = this.chaos;
    if (this.from.isPaused() && !clock.held && this.queuedBytes < current.queueBytes) this.from.resume();
  }

  private readonly pump = (): void => {
    clearTimeout(this.timer);
    if (this.stopped || this.writing || this.chaos.clock.held || this.to.connecting) return;
    if (this.left === 0) return void this.cut();
    const item = this.queue[0];
    if (item === undefined) return;
    const length = this.nextLength(item);
    this.departsAt ??= this.departure(item, length);
    const waitMs = this.departsAt + this.chaos.current.delayMs - this.chaos.clock.now();
    if (waitMs > 0) this.timer = setTimeout(this.pump, Math.ceil(waitMs));
    else this.forward(item, length);
  };

  private nextLength({ bytes, end }: Item): number {
    if (end !== undefined) return 0;
    const { slice, bytesPerSecond } = this.chaos.current;
    if (slice && this.sliceLeft === 0) this.sliceLeft = 1 + this.random.below(LARGEST_SLICE);
    const inTime = Math.max(1, (bytesPerSecond * PIECE_MS) / 1000);
    return Math.floor(Math.min(bytes.length, inTime, slice ? this.sliceLeft : inTime, this.left));
  }

  private departure({ at }: Item, length: number): number {
    const { bytesPerSecond, delayMs } = this.chaos.current;
    const earliest = this.chaos.clock.now() - delayMs - BURST_MS;
    return Math.max(at, this.freeAt, earliest) + (length * 1000) / bytesPerSecond;
  }

  private forward(item: Item, length: number): void {
    this.freeAt = this.departsAt ?? this.freeAt;
    this.departsAt = undefined;
    if (item.end !== undefined) return this.end(item.end);
    const piece = item.bytes.subarray(0, length);
    if (length === item.bytes.length) this.queue.shift();
    else this.queue[0] = { ...item, bytes: item.bytes.subarray(length) };
    this.queuedBytes -= length;
    this.left -= length;
    this.sliceLeft = Math.max(0, this.sliceLeft - length);
    this.chaos.bytes[this.direction] += length;
    this.chaos.pieces[this.direction] += 1;
    this.write(piece);
    this.readOn();
  }

  /** One piece at a time: the next goes when the kernel has this one. */
  private write(piece: Buffer): void {
    this.writing = true;
    this.to.write(piece, (error) => {
      this.writing = false;
      // The other direction brings the news of a socket that is gone.
      if (error) this.stop();
      else this.pump();
    });
  }

  private end(end: 'finish' | 'reset'): void {
    this.queue.shift();
    if (end === 'finish') {
      this.to.end();
      return;
    }
    this.stop();
    if (!this.to.destroyed) this.to.resetAndDestroy();
  }

  /** A reset throws away what this kernel has not delivered. */
  private async cut(): Promise<void> {
    this.stop();
    if (this.cutAt <= DELIVERED_BYTES) return this.onCut();
    const deadline = performance.now() + ACKNOWLEDGED_LIMIT_MS;
    while (unacknowledgedBytes(this.to) > 0 && performance.now() < deadline)
      await new Promise((resolve) => setImmediate(resolve));
    this.onCut();
  }
}

/** What the other kernel has not confirmed of a socket's bytes, as Linux lists it (proc_net_tcp); elsewhere 0. */
function unacknowledgedBytes({ localPort = 0, remotePort = 0, remoteFamily }: Socket): number {
  const hex = (port: number): string => `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const list = readProc(remoteFamily === 'IPv6' ? '/proc/net/tcp6' : '/proc/net/tcp');
  for (const line of list.split('\n')) {
    const [, local = '', remote = '', , queues = '0'] = line.trim().split(/\s+/);
    if (local.endsWith(hex(localPort)) && remote.endsWith(hex(remotePort))) return Number.parseInt(queues, 16);
  }
  return 0;
}

function readProc(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
