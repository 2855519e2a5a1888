/** What a client reports while nothing comes through its link: only what is known. */
import type { ClientEvents } from '../app/client.ts';
import { counted, seconds } from './outage-report.ts';

type Stall = Parameters<NonNullable<ClientEvents['onStalled']>>[0];

/** If links open and short messages pass. */
const SHORT_ONLY =
  'New connections to the relay open and short messages arrive, but long ones do not. This is typical of lost large packets (path ' +
  'MTU). Try "ip link set dev DEVICE mtu 1280" here, or "sysctl net.ipv4.tcp_mtu_probing=1" at the relay.';

export function stallText({ silentMs, streams, links, onlyShort, error }: Stall): string {
  const held = `nothing has arrived for ${seconds(silentMs)}; ${counted(streams)} waiting. wstun keeps trying.`;
  if (onlyShort) return `${held} ${SHORT_ONLY}`;
  if (error !== undefined) return `${held} ${error.message}`;
  return links === 0
    ? held
    : `${held} ${links === 1 ? 'A new connection' : 'New connections'} to the relay did not help.`;
}

export function stallEvent({ silentMs, streams, links, onlyShort, error }: Stall) {
  const fault = error && { code: error.code, message: error.message };
  return { event: 'stalled', silentMs: Math.round(silentMs), streams, links, onlyShort, ...fault };
}
