/**
 * A middlebox on loopback, as some networks have: it freezes, resets or cuts each TCP connection by a rule of its own,
 * whatever other connections do, and a test can reset one of them. Knows nothing of what they carry.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { atEnd } from '../scope.ts';
import { until } from '../until.ts';

/** Of each connection. */
export interface MiddleboxRules {
  /** When so many bytes went down, nothing passes any more, neither way; it stays open. */
  readonly freezesAfterBytes?: number;
  /** It is reset when it is as old as that. */
  readonly resetsAtMs?: number;
  /** It is reset when nothing passed for so long. */
  readonly resetsIdleMs?: number;
}

/** What has passed so much each way is in use at both ends: neither sends so much before it has heard of the other. */
const USED_BYTES = 16 * 1024;
/** Until another connection is in use. */
const STALL_LIMIT_MS = 20_000;

export class Middlebox {
  /** Accepted so far. */
  connections = 0;
  /** Connections that a rule has frozen or reset. */
  ended = 0;
  private readonly passages = new Set<Passage>();
  private readonly server = createServer({ noDelay: true }, (near) => this.serve(near));

  private constructor(
    private readonly targetPort: number,
    private readonly rules: MiddleboxRules,
  ) {}

  /** Until the test is over. */
  static async start(targetPort: number, rules: MiddleboxRules = {}): Promise<Middlebox> {
    const box = new Middlebox(targetPort, rules);
    box.server.listen(0, '127.0.0.1');
    await once(box.server, 'listening');
    atEnd(() => {
      box.server.close();
      for (const passage of [...box.passages]) passage.reset();
    });
    return box;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.passages.size;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Connections that have passed at least so many bytes each way, the one with the most first. */
  private busy(bytes: number): readonly Passage[] {
    return [...this.passages].filter((one) => one.leastBytes >= bytes).sort((a, b) => b.leastBytes - a.leastBytes);
  }

  /** Resets the busiest connection, again and again, as long as another is in use, until `work` is over. */
  async resetOneByOne(work: Promise<unknown>): Promise<number> {
    const state = { isOver: false };
    const over = work.finally(() => {
      state.isOver = true;
    });
    let resets = 0;
    while (!state.isOver) {
      await until(() => state.isOver || this.busy(USED_BYTES).length > 1, STALL_LIMIT_MS);
      const [busiest] = this.busy(USED_BYTES);
      if (state.isOver || busiest === undefined) break;
      busiest.reset();
      this.passages.delete(busiest);
      resets += 1;
    }
    await over;
    return resets;
  }

  private serve(near: Socket): void {
    this.connections += 1;
    const far = connect({ host: '127.0.0.1', port: this.targetPort, noDelay: true });
    const passage = new Passage(near, far, this.rules, () => {
      this.ended += 1;
    });
    this.passages.add(passage);
    near.once('close', () => this.passages.delete(passage));
  }
}

class Passage {
  private up = 0;
  private down = 0;
  private age: NodeJS.Timeout | undefined;
  private idle: NodeJS.Timeout | undefined;

  constructor(
    private readonly near: Socket,
    private readonly far: Socket,
    private readonly rules: MiddleboxRules,
    private readonly onRule: () => void,
  ) {
    this.pass(near, far, (chunk) => this.countUp(chunk));
    this.pass(far, near, (chunk) => this.countDown(chunk));
    if (rules.resetsAtMs !== undefined) this.age = setTimeout(() => this.resetByRule(), rules.resetsAtMs);
    near.once('close', () => this.clearTimers());
    this.noteUse();
  }

  /** Passed so far, in the direction that has passed less. */
  get leastBytes(): number {
    return Math.min(this.up, this.down);
  }

  reset(): void {
    for (const socket of [this.near, this.far]) {
      if (socket.connecting) socket.destroy();
      else socket.resetAndDestroy();
    }
  }

  private pass(from: Socket, to: Socket, count: (chunk: Buffer) => Buffer): void {
    from.on('error', () => this.reset());
    from.on('data', (chunk: Buffer) => {
      const passing = count(chunk);
      if (passing.length > 0 && !to.write(passing)) from.pause();
    });
    to.on('drain', () => from.resume());
    from.once('end', () => to.end());
  }

  private countUp(chunk: Buffer): Buffer {
    const { freezesAfterBytes = Number.POSITIVE_INFINITY } = this.rules;
    if (this.down >= freezesAfterBytes) return Buffer.alloc(0);
    this.up += chunk.length;
    this.noteUse();
    return chunk;
  }

  private countDown(chunk: Buffer): Buffer {
    const { freezesAfterBytes = Number.POSITIVE_INFINITY } = this.rules;
    const passing = chunk.subarray(0, freezesAfterBytes - this.down);
    this.down += passing.length;
    if (passing.length > 0) {
      this.noteUse();
      if (this.down >= freezesAfterBytes) this.onRule();
    }
    return passing;
  }

  private noteUse(): void {
    if (this.rules.resetsIdleMs === undefined) return;
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.resetByRule(), this.rules.resetsIdleMs);
  }

  private resetByRule(): void {
    this.onRule();
    this.reset();
  }

  private clearTimers(): void {
    clearTimeout(this.age);
    clearTimeout(this.idle);
  }
}
