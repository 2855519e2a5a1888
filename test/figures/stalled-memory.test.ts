/**
 * A reader that stops for good takes little memory of the relay, whether it is a program that stops reading its download
 * or a target that stops reading an upload.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { DEFAULT_MUX_CONFIG } from '../../src/mux/config.ts';
import { receive, sendPayload } from '../support/payload.ts';
import { startStack } from '../support/programs/wstun-stack.ts';
import { DIRECTIONS, opener, release, stall } from './stalled-streams.ts';

const MIB = 1024 * 1024;
/**
 * So many streams stall at once where memory is measured, and each may cost its share: a garbage collector's few MiB
 * more or less would hide a single one.
 */
const STALLED = 16;

describe.each(DIRECTIONS)('a reader of a %s that stops for good', (direction) => {
  it(`a stopped reader of one ${direction} costs the relay no more than its window and 1 MiB`, {
    timeout: 180_000,
  }, async () => {
    const stack = await startStack();
    const open = await opener(stack);
    const bulk = async () => {
      const { sender, reader } = await open(direction);
      await Promise.all([receive(reader), sendPayload(sender, 128 * MIB)]);
      release({ sender, reader });
    };
    // A process grows to its working size first.
    for (let i = 0; i < 3; i++) await bulk();
    const before = await lowest(() => stack.relay.process.memory().resident);
    for (let i = 0; i < STALLED; i++) await stall(await open(direction));
    // The same work again, so that both values hold what collections leave.
    await bulk();
    const after = await lowest(() => stack.relay.process.memory().resident);
    // What the relay may hold of an upload is the credit that it has granted, of a download its queue for sending.
    const { maxWindowBytes, maxSendQueueBytes } = DEFAULT_MUX_CONFIG;
    const window = (direction === 'upload' ? maxWindowBytes : maxSendQueueBytes) / MIB;
    expect((after - before) / STALLED, `${before} MiB, then ${after} MiB`).toBeLessThanOrEqual(window + 1);
  });
});

/** Over a second. */
async function lowest(value: () => number): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 20; i++) {
    least = Math.min(least, value());
    await delay(50);
  }
  return least;
}
