/** Obstacles: what ends connections that are idle, or old. Their times are short, so that a test need not wait long. */
import { Middlebox } from '../net/middlebox.ts';
import { startNginx } from '../programs/nginx.ts';
import { startSquid } from '../programs/squid.ts';
import { DROPPED } from './fronts.ts';
import type { Obstacle } from './obstacle.ts';
import { RELAY, RELAY_PLACE } from './obstacle-network.ts';

const AGE_MS = 3_200;
/** What is measured of it differs by the time that a machine takes. */
const ABOUT = [/about \d+ s/g, 'about 4 s'] as const;

const IDLE_CONNECTS: Obstacle = {
  what: 'a proxy that ends CONNECTs that are idle for 4 s',
  program: 'squid, `read_timeout`',
  helps: '',
  says: 'this network ends connections that are idle for about 4 s; wstun keeps them busy',
  start: async (network) => {
    const { port } = await startSquid({ hosts: { [RELAY]: '127.0.0.1' }, lines: ['read_timeout 4 seconds'] });
    return {
      invite: await network.inviteTo(`wss://${RELAY}:${network.secure.port}`),
      client: { args: ['--proxy', `http://127.0.0.1:${port}`], env: network.env },
      names: [ABOUT],
      saysWithinMs: 30_000,
      isSlow: true,
    };
  },
};

const OLD_CONNECTIONS: Obstacle = {
  what: 'a box that resets each connection at an age of 4 s',
  program: 'a box of the tests',
  helps: '',
  says: 'this network ends connections after about 4 s; wstun changes links before that',
  start: async (network) => {
    const { port } = await Middlebox.start(network.plain.port, { resetsAtMs: AGE_MS });
    const invite = await network.inviteTo(`ws://127.0.0.1:${port}`);
    return { invite, client: {}, names: [ABOUT], saysWithinMs: 30_000, isSlow: true, isBusy: true };
  },
};

const OLD_REQUESTS: Obstacle = {
  what: 'the same in front of one that removes the upgrade',
  program: 'a box of the tests, nginx',
  helps: '',
  says: DROPPED,
  start: async (network) => {
    const nginx = await startNginx(`location / { proxy_pass http://127.0.0.1:${network.plain.port}; }`);
    const { port } = await Middlebox.start(nginx.port, { resetsAtMs: AGE_MS });
    const place = `127.0.0.1:${port}`;
    return { invite: await network.inviteTo(`ws://${place}`), client: {}, names: [[place, RELAY_PLACE]] };
  },
};

export const WAITS: readonly Obstacle[] = [IDLE_CONNECTS, OLD_CONNECTIONS, OLD_REQUESTS];
