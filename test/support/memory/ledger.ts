/**
 * Counts owned memory (src/memory/pieces.ts) while a test runs: what is given back, and what is left to the collector.
 */
import { type Lent, type MemoryWatch, watchMemory } from '../../../src/memory/pieces.ts';
import { atEnd } from '../scope.ts';
import { until } from '../until.ts';
import { poison } from './poison.ts';

/** The rest is small: copies in Node's pool. */
const OWNED_SHARE = 0.95;
/** Of heads and ends: a stream or link that breaks may leave what it holds to the collector. */
const DROPPED_SHARE = 0.01;

export class Ledger implements MemoryWatch {
  /** Bytes that had an owner since the beginning, and of these those that were released. */
  owned = 0;
  released = 0;

  /** Until the test is over. Begin with it: what is released must have been counted when it was owned. */
  static open(): Ledger {
    const ledger = new Ledger();
    watchMemory(ledger);
    atEnd(() => watchMemory(poison));
    return ledger;
  }

  handleOwned(bytes: Uint8Array): void {
    this.owned += bytes.length;
    poison.handleOwned(bytes);
  }

  handleReleased(bytes: Uint8Array): void {
    this.released += bytes.length;
    poison.handleReleased(bytes);
  }

  handleLentBack(bytes: Lent): void {
    poison.handleLentBack(bytes);
  }

  handleGivenBack(memory: ArrayBufferLike): void {
    poison.handleGivenBack(memory);
  }

  /** Nearly all that had an owner is released, now or in a moment; and nearly so much had one, or nothing is proved. */
  async settles(passed: number, droppedShare = DROPPED_SHARE): Promise<void> {
    if (this.owned < passed * OWNED_SHARE) throw new Error(`of ${passed} bytes only ${this.owned} had an owner`);
    await until(() => this.released >= this.owned * (1 - droppedShare)).catch(() => {
      throw new Error(`of ${this.owned} bytes ${this.owned - this.released} are not released`);
    });
  }
}
