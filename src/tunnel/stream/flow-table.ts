/**
 * Flows of datagrams, each by a key, in the order of their use. Decides how many there are and how long they live: a
 * further one takes the place of the idlest, and a flood of addresses ends none that is in use. Touches no socket.
 */
import type { Clock, Timer } from '../../clock.ts';

/** RFC 4787 §4.3 asks for two minutes at least. */
export const FLOW_IDLE_MS = 120_000;
/** Only a flow that has been idle for so long, ms, makes room. */
const ROOM_AFTER_MS = 1_000;
const SWEEP_MS = 10_000;

export interface TableFlow {
  close(): void;
}

export class FlowTable<Flow extends TableFlow> {
  /** The one that was used longest ago comes first. */
  private readonly entries = new Map<string, { readonly flow: Flow; readonly usedAt: number }>();
  private timer: Timer | undefined;

  /** @param maxFlows at once */
  constructor(
    private readonly clock: Clock,
    private readonly maxFlows: number,
  ) {}

  get size(): number {
    return this.entries.size;
  }

  get(key: string): Flow | undefined {
    return this.entries.get(key)?.flow;
  }

  /** Ends the idlest flow if there is no room. False: all are in use. */
  makeRoom(): boolean {
    const [idlest] = this.entries;
    if (this.entries.size < this.maxFlows || idlest === undefined) return true;
    const [key, { usedAt }] = idlest;
    if (this.clock.now() - usedAt < ROOM_AFTER_MS) return false;
    this.end(key);
    return true;
  }

  /** The flow is, or was, used now. */
  use(key: string, flow: Flow): void {
    this.entries.delete(key);
    this.entries.set(key, { flow, usedAt: this.clock.now() });
    this.timer ??= this.clock.setTimeout(() => this.sweep(), SWEEP_MS).unref();
  }

  /** Forgets a flow that has ended by itself. */
  delete(key: string): void {
    this.entries.delete(key);
  }

  /** Ends all of them. */
  close(): void {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
    for (const key of [...this.entries.keys()]) this.end(key);
  }

  private sweep(): void {
    this.timer = undefined;
    const idleSince = this.clock.now() - FLOW_IDLE_MS;
    for (const [key, { usedAt }] of this.entries) {
      if (usedAt > idleSince) break;
      this.end(key);
    }
    if (this.entries.size > 0) this.timer = this.clock.setTimeout(() => this.sweep(), SWEEP_MS).unref();
  }

  private end(key: string): void {
    const entry = this.entries.get(key);
    this.entries.delete(key);
    entry?.flow.close();
  }
}
