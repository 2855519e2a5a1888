/** Events in virtual time, in order; those of the same time in the order in which they were planned. */
import { Heap } from './heap.ts';

interface Event {
  readonly at: number;
  readonly order: number;
  run(): void;
}

export class VirtualTime {
  private readonly events = new Heap<Event>((a, b) => a.at - b.at || a.order - b.order);
  private order = 0;

  /** @param clock shared with those who only read the time, ms */
  constructor(readonly clock: { now: number }) {}

  get now(): number {
    return this.clock.now;
  }

  /** A time in the past is now. */
  at(at: number, run: () => void): void {
    this.order += 1;
    this.events.push({ at: Math.max(at, this.now), order: this.order, run });
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run);
  }

  /** Until `isDone`, which is asked after each event, or until this time. */
  run(until: number, isDone: () => boolean = () => false): void {
    while (!isDone()) {
      const next = this.events.first;
      if (next === undefined || next.at > until) break;
      this.events.pop();
      this.clock.now = next.at;
      next.run();
    }
    if (!isDone()) this.clock.now = Math.max(this.now, until);
  }
}
