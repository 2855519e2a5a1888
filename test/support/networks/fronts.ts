/** Obstacles: web servers in front of the relay that pass no WebSocket on, or hold answers back, or are as they are. */
import { startCaddy } from '../programs/caddy.ts';
import { startHaproxy } from '../programs/haproxy.ts';
import { startNginx } from '../programs/nginx.ts';
import type { Obstacle } from './obstacle.ts';
import { RELAY_PLACE } from './obstacle-network.ts';

export const DROPPED =
  'connected by HTTP link; by WebSocket: the relay knows this invite, but something in front of it ' +
  `drops the WebSocket upgrade: ${RELAY_PLACE}: HTTP 404 from nginx`;

interface FrontRow extends Pick<Obstacle, 'what' | 'program' | 'says'> {
  /** In front of the relay at that port. @returns its own */
  start(relay: number): Promise<number>;
}

function front({ start, ...row }: FrontRow): Obstacle {
  return {
    ...row,
    helps: '',
    start: async (network) => {
      const place = `127.0.0.1:${await start(network.plain.port)}`;
      return { invite: await network.inviteTo(`ws://${place}`), client: {}, names: [[place, RELAY_PLACE]] };
    },
  };
}

const nginx = (lines: (relay: number) => string) => async (relay: number) =>
  (await startNginx(`location / { proxy_pass http://127.0.0.1:${relay}; ${lines(relay)} }`)).port;

export const FRONTS: readonly Obstacle[] = [
  front({
    what: 'a front that removes the upgrade',
    program: 'nginx, `proxy_pass` alone',
    says: DROPPED,
    start: nginx(() => ''),
  }),
  front({
    what: 'a front that removes the upgrade, and holds answers back until they are complete',
    program: 'nginx, `proxy_buffering on`, `proxy_ignore_headers X-Accel-Buffering`',
    says: DROPPED,
    start: nginx(() => 'proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; proxy_http_version 1.1;'),
  }),
  front({
    what: 'a front with its usual time limits',
    program: 'HAProxy, as Debian configures it',
    says: '',
    start: (relay) => startHaproxy(relay, 'timeout client 50s\n  timeout server 50s'),
  }),
  front({
    what: 'a front without a setting',
    program: 'Caddy, `reverse_proxy`',
    says: '',
    start: startCaddy,
  }),
];
