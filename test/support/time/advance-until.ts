/** Virtual time beside real sockets or files: between two steps of the clock they get real time to move. */
import type { VirtualClock } from './virtual-clock.ts';

const STEP_MS = 100;
const REAL_MS = 2;

/** Resolves as soon as the condition holds, or fails after `limitMs` of virtual time. */
export async function advanceUntil(clock: VirtualClock, condition: () => boolean, limitMs: number): Promise<void> {
  for (let passedMs = 0; !condition(); passedMs += STEP_MS) {
    if (passedMs > limitMs) throw new Error(`not within ${limitMs} ms of virtual time: ${condition}`);
    await clock.advance(STEP_MS);
    for (let turn = 0; turn < 5 && !condition(); turn++) await new Promise((resolve) => setTimeout(resolve, REAL_MS));
  }
}
