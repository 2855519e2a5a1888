/** A test for each obstacle of a file, and with `NETWORKS=1` the figures of their rows of docs/networks.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, it } from 'vitest';
import { usePlainProgram } from '../programs/wstun-program.ts';
import { OBSTACLES } from './all.ts';
import { type Figures, withTable } from './networks-page.ts';
import type { Obstacle } from './obstacle.ts';
import { type NetworkOptions, type ObstacleNetwork, startObstacleNetwork } from './obstacle-network.ts';
import { isMeasuring, type Measured, runObstacle } from './run-obstacle.ts';

const PAGE = new URL('../../../docs/networks.md', import.meta.url);
const LIMIT_MS = isMeasuring ? 900_000 : 180_000;
const LONG = { timeout: LIMIT_MS, tags: ['waits'] };
/** Of each the median counts. */
const ROUNDS = isMeasuring ? 3 : 1;

/** What every other one is compared with. */
const NOTHING: Obstacle = {
  ...{ what: 'nothing', program: '', helps: '', says: '' },
  start: async (network) => ({ invite: await network.inviteTo(network.plain.url), client: {} }),
};

interface Options extends NetworkOptions {
  /** The name of one test for all, which mostly wait. */
  readonly sideBySide?: string;
}

export function itPasses(obstacles: readonly Obstacle[], { sideBySide, ...options }: Options = {}): void {
  const figures = new Map<string, Figures>();
  let network: ObstacleNetwork;
  let bytesPerSecond = 0;
  beforeAll(async () => {
    if (isMeasuring) usePlainProgram();
    network = await startObstacleNetwork(options);
    if (isMeasuring) ({ bytesPerSecond } = await medianOf(NOTHING, network));
  }, LIMIT_MS);
  afterAll(() => {
    if (isMeasuring) writeFileSync(PAGE, withTable(readFileSync(PAGE, 'utf8'), OBSTACLES, figures));
  });

  const pass = async (obstacle: Obstacle): Promise<void> => {
    const measured = await medianOf(obstacle, network);
    figures.set(obstacle.what, printed(measured, measured.plainBytesPerSecond ?? bytesPerSecond));
  };
  if (sideBySide !== undefined && !isMeasuring) it(sideBySide, LONG, () => Promise.all(obstacles.map(pass)));
  else for (const obstacle of obstacles) it(`wstun passes ${obstacle.what}`, LONG, () => pass(obstacle));
}

async function medianOf(obstacle: Obstacle, network: ObstacleNetwork): Promise<Measured> {
  const rounds: Measured[] = [];
  while (rounds.length < ROUNDS && rounds[0]?.isSlow !== true) rounds.push(await runObstacle(obstacle, network));
  const median = (of: (one: Measured) => number | undefined) =>
    rounds.map((one) => of(one) ?? Number.NaN).sort((a, b) => a - b)[Math.floor(rounds.length / 2)] ?? Number.NaN;
  const optional = (value: number) => (Number.isNaN(value) ? undefined : value);
  return {
    saidMs: optional(median(({ saidMs }) => saidMs)),
    connectedMs: median(({ connectedMs }) => connectedMs),
    bytesPerSecond: median((one) => one.bytesPerSecond),
    plainBytesPerSecond: optional(median((one) => one.plainBytesPerSecond)),
    isSlow: rounds[0]?.isSlow ?? false,
  };
}

function printed({ saidMs, connectedMs, bytesPerSecond }: Measured, without: number): Figures {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  return {
    said: saidMs === undefined ? '–' : seconds(saidMs),
    connected: seconds(connectedMs),
    carries: (bytesPerSecond / without).toFixed(2),
  };
}
