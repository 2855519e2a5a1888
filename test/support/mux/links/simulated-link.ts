/** A link between a client and an exit in virtual time: two ways, and what the ends are told of it. */
import type { Prng } from '../../prng.ts';
import type { Side } from '../mux-rig.ts';
import { OneWay, type WayConfig } from './one-way.ts';
import type { VirtualTime } from './virtual-time.ts';

export class SimulatedLink {
  readonly up: OneWay;
  readonly down: OneWay;
  readonly roundTripMs: number;

  constructor(time: VirtualTime, up: WayConfig, down: WayConfig, random: Prng) {
    this.up = new OneWay(time, up, random);
    this.down = new OneWay(time, down, random);
    this.roundTripMs = up.delayMs + down.delayMs;
  }

  /** What this side sends on. */
  from(side: Side): OneWay {
    return side === 'client' ? this.up : this.down;
  }
}
