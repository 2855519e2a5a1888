/** A byte every few ms to an echo, by a real clock: how long each took. */
import type { Socket } from 'node:net';
import { atEnd } from '../scope.ts';
import { until } from '../until.ts';

/** Between two bytes, ms. */
export const EVERY_MS = 10;

/** Whatever comes back must be what was sent. */
export class RealEchoes {
  readonly tookMs: number[] = [];
  private readonly sentAt: number[] = [];
  private readonly timer: NodeJS.Timeout;
  private isWrong = false;

  constructor(socket: Socket) {
    socket.on('data', (bytes: Buffer) => {
      for (const byte of bytes) {
        const at = this.tookMs.length;
        this.isWrong ||= byte !== at % 251;
        this.tookMs.push(performance.now() - (this.sentAt[at] ?? 0));
      }
    });
    socket.resume();
    this.timer = setInterval(() => {
      socket.write(Uint8Array.of(this.sentAt.length % 251));
      this.sentAt.push(performance.now());
    }, EVERY_MS);
    atEnd(() => clearInterval(this.timer));
  }

  /** The longest of those that were sent since, once all of them are back. */
  async longestSince(at: number): Promise<number> {
    const sent = this.sentAt.length;
    await until(() => this.tookMs.length >= sent, 30_000);
    if (this.isWrong) throw new Error('what came back is not what was sent');
    return Math.max(0, ...this.tookMs.filter((_, n) => (this.sentAt[n] ?? 0) >= at));
  }

  /** So many more have come back. */
  async more(count: number): Promise<void> {
    const before = this.tookMs.length;
    await until(() => this.tookMs.length >= before + count, 30_000);
  }
}
