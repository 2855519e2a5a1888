/** Obstacles: boxes on the way that know a WebSocket when they see it, and stop it. */
import { startUpgradeBox, type UpgradeMode } from '../net/upgrade-box.ts';
import type { Obstacle } from './obstacle.ts';
import { RELAY_PLACE } from './obstacle-network.ts';

function box(what: string, mode: UpgradeMode, says: string): Obstacle {
  return {
    ...{ what, program: 'a box of the tests', helps: '', says },
    start: async (network) => {
      const place = `127.0.0.1:${(await startUpgradeBox(network.plain.port, mode)).port}`;
      return { invite: await network.inviteTo(`ws://${place}`), client: {}, names: [[place, RELAY_PLACE]] };
    },
  };
}

export const BOXES: readonly Obstacle[] = [
  box(
    'a box that resets each WebSocket right behind its 101',
    'resets',
    'connected by HTTP link; by WebSocket: the link to the relay was lost: it was closed in the middle of the handshake',
  ),
  box(
    'a box that swallows all that follows the 101',
    'swallows',
    'connected by HTTP link; by WebSocket: it was opened, and nothing has come through it yet',
  ),
];
