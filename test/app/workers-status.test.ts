import { expect, it } from 'vitest';
import type { ServingStatus } from '../../src/app/status.ts';
import { mergeStatus } from '../../src/app/workers-status.ts';

const PART: ServingStatus = {
  ...{ role: 'relay', version: '1.0.0', pid: 1, startedAt: 0 },
  ...{ peers: [], peerCount: 0, exits: [], refusals: {} },
};
const CLUSTER = { name: 'wstun', relays: 3 };

it('the status of workers says how they are in their cluster, by the one that is away from it if there is any', () => {
  const here = { ...PART, cluster: { ...CLUSTER, node: 'a', connectedSince: 1 } };
  const away = { ...PART, cluster: { ...CLUSTER, node: 'b', awaySince: 2 } };
  expect(mergeStatus([], [here, away]).cluster).toEqual(away.cluster);
  expect(mergeStatus([], [here, here]).cluster).toEqual(here.cluster);
  expect(mergeStatus([], [PART, PART])).not.toHaveProperty('cluster');
});
