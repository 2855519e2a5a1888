/** One suite for every way in which two ends of a session can be joined. */
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { type Cutter, oneByte, randomCuts, recutLink, shiftedBy } from '../support/links/recut-link.ts';
import { openWebSocketPair } from '../support/links/websocket-pair.ts';
import { describeMuxCompliance } from '../support/mux/mux-compliance.ts';
import { driverPair, purePair } from '../support/mux/session-pairs.ts';
import { prng } from '../support/prng.ts';

const MIB = 1024 * 1024;

describeMuxCompliance('nothing: the pure state machines', purePair, { bulk: 2 * MIB, streams: 300 });

describeMuxCompliance(
  'a link in memory',
  (setup) => {
    const [near, far] = memoryLinkPair();
    return driverPair({ near, far }, setup);
  },
  { bulk: 2 * MIB, streams: 300 },
);

describeMuxCompliance('a WebSocket', async (setup) => driverPair(await openWebSocketPair(), setup), {
  bulk: 4 * MIB,
  streams: 300,
});

const cutters: [name: string, make: () => Cutter, bulk: number][] = [
  ['one byte a record', () => oneByte, 70_000],
  ['records of random size', () => randomCuts(prng(7), 3000), MIB],
  ...[1, 2, 3, 4, 5, 7, 8, 9, 12, 100, 5000].map((bytes): [string, () => Cutter, number] => [
    `boundaries ${bytes} bytes early`,
    () => shiftedBy(bytes),
    200_000,
  ]),
];

for (const [name, make, bulk] of cutters) {
  describeMuxCompliance(
    `a link in memory, ${name}`,
    (setup) => {
      const [near, far] = memoryLinkPair();
      return driverPair({ near: recutLink(near, make()), far: recutLink(far, make()) }, setup);
    },
    { bulk, streams: 40 },
  );
}

describeMuxCompliance(
  'a WebSocket, records of random size',
  async (setup) => {
    const { near, far, release } = await openWebSocketPair();
    const random = prng(11);
    const cutter = randomCuts(random, 70_000);
    return driverPair({ near: recutLink(near, cutter), far: recutLink(far, cutter), release }, setup);
  },
  { bulk: MIB, streams: 100 },
);
