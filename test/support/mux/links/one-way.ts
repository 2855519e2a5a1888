/**
 * One direction of a link in virtual time, as it looks from above TCP: what is sent waits in the sender's kernel, passes
 * a path of one rate and one delay, and arrives in order. A lost packet shows as a hole: it and all behind it arrive a
 * round trip later, or a timer of TCP later.
 */
import type { Prng } from '../../prng.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface WayConfig {
  /** Bytes a ms. */
  readonly rate: number;
  readonly delayMs: number;
  /** The queue is full beyond this, bytes, and drained when half of it is left. */
  readonly fullBytes: number;
  /** Of a message of up to one packet: the chance that it is lost once. */
  readonly loss: number;
}

interface Message {
  readonly bytes: number;
  arrive(): void;
}

interface OnItsWay {
  readonly at: number;
  arrive(): void;
}

const PACKET_BYTES = 1448;
const RETRANSMISSION_TIMEOUT_MS = 200;
const OVERHEAD_BYTES = 60;

export class OneWay {
  /** Nothing passes the path any more after so many bytes. */
  freezesAfter = Number.POSITIVE_INFINITY;
  /** Packets may be lost. */
  isLossy = true;
  onDrain: () => void = () => {};
  private waiting: Message[] = [];
  private waitingBytes = 0;
  private onItsWay: OnItsWay[] = [];
  private lastArrival = 0;
  private stallsUntil = 0;
  private isServing = false;
  private isArriving = false;
  private isFull = false;
  private isCut = false;

  constructor(
    private readonly time: VirtualTime,
    private readonly config: WayConfig,
    private readonly random: Prng,
  ) {}

  get isFrozen(): boolean {
    return this.freezesAfter <= 0;
  }

  /** False: the queue is full, and `onDrain` follows. */
  send(bytes: number, arrive: () => void): boolean {
    if (this.isCut) return true;
    this.waiting.push({ bytes: bytes + OVERHEAD_BYTES, arrive });
    this.waitingBytes += bytes + OVERHEAD_BYTES;
    this.serve();
    this.isFull = this.waitingBytes > this.config.fullBytes;
    return !this.isFull;
  }

  /** Nothing passes for so long, ms, and then all of it. */
  stall(ms: number): void {
    this.stallsUntil = Math.max(this.stallsUntil, this.time.now + ms);
  }

  freeze(): void {
    this.freezesAfter = 0;
  }

  /** The sender is gone. What is on its way still arrives, unless the receiver is told before. */
  cut(): void {
    this.isCut = true;
    this.waiting = [];
    this.waitingBytes = 0;
  }

  private serve(): void {
    const [message] = this.waiting;
    if (this.isServing || message === undefined || this.isFrozen) return;
    this.isServing = true;
    const from = Math.max(this.time.now, this.stallsUntil);
    this.time.at(from + message.bytes / this.config.rate, () => this.handleServed());
  }

  private handleServed(): void {
    this.isServing = false;
    const message = this.waiting.shift();
    if (message === undefined) return;
    this.waitingBytes -= message.bytes;
    this.freezesAfter -= message.bytes;
    if (!this.isFrozen) this.pass(message);
    this.serve();
    if (!this.isFull || this.waitingBytes > this.config.fullBytes / 2) return;
    this.isFull = false;
    this.onDrain();
  }

  private pass({ bytes, arrive }: Message): void {
    const at = this.time.now + this.config.delayMs + this.lossMs(bytes);
    this.lastArrival = Math.max(this.lastArrival, at);
    this.onItsWay.push({ at: this.lastArrival, arrive });
    this.planArrival();
  }

  private lossMs(bytes: number): number {
    const { loss, delayMs } = this.config;
    if (!this.isLossy || loss === 0) return 0;
    const none = (1 - loss) ** Math.ceil(bytes / PACKET_BYTES);
    if (this.random.chance(none)) return 0;
    return this.random.chance(0.6) ? 2 * delayMs : RETRANSMISSION_TIMEOUT_MS * 2 ** this.random.below(3) + 2 * delayMs;
  }

  private planArrival(): void {
    const [next] = this.onItsWay;
    if (this.isArriving || next === undefined) return;
    this.isArriving = true;
    this.time.at(Math.max(next.at, this.stallsUntil), () => {
      this.isArriving = false;
      if (this.time.now >= this.stallsUntil) this.onItsWay.shift()?.arrive();
      this.planArrival();
    });
  }
}
