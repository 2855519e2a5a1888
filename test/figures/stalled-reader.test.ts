/**
 * A reader that stops for good stalls only its own stream, whether it is a program that stops reading its download or a
 * target that stops reading an upload.
 */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { sendEndlessly } from '../support/payload.ts';
import { startStack } from '../support/programs/wstun-stack.ts';
import { DIRECTIONS, type Direction, opener, release, stall } from './stalled-streams.ts';

const OTHERS = 63;
const KEPT_SPEED = 0.9;
/** At most; each stack has the stalled stream in one half of them. */
const ROUNDS = 8;
/** Of the pairs of rounds: so many well make the median of all well, whatever the others are. */
const ENOUGH_PAIRS = 2;
const MEASURED_MS = 500;

/** The geometric mean of each two rounds: with the stalled stream in the one stack, and in the other. */
function pairsOf(kept: readonly number[]): number[] {
  return kept.flatMap((ratio, i) => (i % 2 === 1 ? Math.sqrt(ratio * (kept[i - 1] ?? Number.NaN)) : []));
}

/** A stack with 63 streams that go on for ever. */
async function startLane(direction: Direction) {
  const open = await opener(await startStack());
  const readers: Socket[] = [];
  let bytes = 0;
  for (let i = 0; i < OTHERS; i++) {
    const { sender, reader } = await open(direction);
    sendEndlessly(sender);
    reader.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    readers.push(reader);
  }
  return {
    open,
    received: () => bytes,
    pause: () => readers.forEach((reader) => void reader.pause()),
    resume: () => readers.forEach((reader) => void reader.resume()),
  };
}

describe.each(DIRECTIONS)('a reader of a %s that stops for good', (direction) => {
  /**
   * Two stacks run side by side, in turn with and without the stalled stream: whatever else the machine does meets
   * both, and what makes one of them slower counts for and against.
   */
  it(`a stopped reader of one ${direction} leaves 63 others at least 90 % of their speed`, {
    timeout: 180_000,
  }, async () => {
    const lanes = [await startLane(direction), await startLane(direction)] as const;
    const kept: number[] = [];
    const isKept = () => pairsOf(kept).filter((ratio) => ratio >= KEPT_SPEED).length >= ENOUGH_PAIRS;
    for (let round = 0; round < ROUNDS && !isKept(); round++) {
      const [beside, without] = round % 2 === 0 ? lanes : ([lanes[1], lanes[0]] as const);
      // A stream that alone fills its windows and the kernel's buffers is soon blocked.
      for (const lane of lanes) lane.pause();
      const stalled = await stall(await beside.open(direction));
      for (const lane of lanes) lane.resume();
      const before = [beside.received(), without.received()] as const;
      await delay(MEASURED_MS);
      kept.push((beside.received() - before[0]) / (without.received() - before[1]));
      release(stalled);
    }
    expect(isKept(), kept.map((ratio) => ratio.toFixed(2)).join(' ')).toBe(true);
  });
});
