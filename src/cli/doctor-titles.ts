/** What the checks of `wstun doctor` are called on the screen. */
import type { CheckName } from '../doctor/checks.ts';

export const TITLES: Readonly<Record<CheckName, string>> = {
  environment: 'proxy settings',
  listen: 'local port',
  names: 'DNS',
  tcp: 'TCP',
  proxy: 'proxy',
  tls: 'TLS',
  websocket: 'WebSocket',
  http: 'HTTP link',
  clock: 'clock',
  ticket: 'invite',
  handshake: 'keys',
  exit: 'exit',
  'round-trip': 'round trip',
  policy: 'exit: policy',
  resolver: 'exit: DNS',
  target: 'exit: target',
  throughput: 'throughput',
  idle: 'idle',
};
