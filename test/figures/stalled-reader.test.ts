/**
 * A reader that stops for good stalls only its own stream, and takes little memory of the relay, whether it is a
 * program that stops reading its download or a target that stops reading an upload.
 */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { DEFAULT_MUX_CONFIG } from '../../src/mux/config.ts';
import { receive, sendEndlessly, sendPayload } from '../support/payload.ts';
import { tcpServer } from '../support/tcp.ts';
import { connectThrough } from '../support/through-proxy.ts';
import { until } from '../support/until.ts';
import { type Stack, startStack } from '../support/wstun-stack.ts';

const MIB = 1024 * 1024;
const OTHERS = 63;
const KEPT_SPEED = 0.9;
/** Each stack has the stalled stream in one half of them. */
const ROUNDS = 8;
const MEASURED_MS = 500;
/**
 * So many streams stall at once where memory is measured, and each may cost its share: a garbage collector's few MiB
 * more or less would hide a single one.
 */
const STALLED = 16;

type Direction = 'download' | 'upload';

interface Ends {
  readonly sender: Socket;
  readonly reader: Socket;
}

/** Opens connections through the tunnel, whose both ends are the test's. */
async function opener({ client }: Stack): Promise<(direction: Direction) => Promise<Ends>> {
  const accepted: ((socket: Socket) => void)[] = [];
  const target = await tcpServer((socket) => socket.once('data', () => accepted.shift()?.(socket.pause())));
  return async (direction) => {
    const atTarget = new Promise<Socket>((resolve) => accepted.push(resolve));
    const atProgram = await connectThrough('SOCKS5', client.port, target);
    atProgram.write('.');
    const [sender, reader] = direction === 'upload' ? [atProgram, await atTarget] : [await atTarget, atProgram];
    return { sender, reader };
  };
}

/** A stream whose reader reads nothing, ever; resolves when its sender has been stuck for a while. */
async function stall({ sender, reader }: Ends): Promise<Ends> {
  sendEndlessly(sender);
  let sent = -1;
  let since = performance.now();
  await until(() => {
    if (sender.bytesWritten !== sent) [sent, since] = [sender.bytesWritten, performance.now()];
    return performance.now() - since > 150;
  }, 10_000);
  return { sender, reader };
}

function release({ sender, reader }: Ends): void {
  sender.destroy();
  reader.destroy();
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
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

describe.each<Direction>(['download', 'upload'])('a reader of a %s that stops for good', (direction) => {
  /**
   * Two stacks run side by side, in turn with and without the stalled stream: whatever else the machine does meets
   * both, and what makes one of them slower counts for and against.
   */
  it(`a stopped reader of one ${direction} leaves 63 others at least 90 % of their speed`, {
    timeout: 60_000,
  }, async () => {
    const lanes = [await startLane(direction), await startLane(direction)] as const;
    const kept: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
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
    const ratios = kept.flatMap((ratio, i) => (i % 2 === 0 ? Math.sqrt(ratio * (kept[i + 1] ?? Number.NaN)) : []));
    const seen = kept.map((ratio) => ratio.toFixed(2)).join(' ');
    expect(median(ratios), seen).toBeGreaterThanOrEqual(KEPT_SPEED);
  });

  it(`a stopped reader of one ${direction} costs the relay no more than its window and 1 MiB`, {
    timeout: 60_000,
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
