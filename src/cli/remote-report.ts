/** What a client prints of its forwards, its ports at the exit and its name server. */
import type { ForwardNotice } from '../app/forwarding.ts';
import type { RemoteForwardNotice } from '../app/remote-forwarding.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import type { Output } from './output.ts';

export function reportForward({ forward, protocol, listen }: ForwardNotice, output: Output): void {
  const at = 'path' in listen ? listen.path : formatHostPort(listen);
  output.event({ event: 'forward', forward, protocol, listen: at });
  output.say(`${at}${protocol === 'udp' ? ' (UDP)' : ''} leads to ${targetIn(forward)} from the exit`);
}

/** Of a forward, its last two parts. */
function targetIn(forward: string): string {
  return /(?:\[[^\]]*\]|[^:[\]]*):\d+(?=(?:\/\w+)?$)/.exec(forward)?.[0] ?? forward;
}

export function reportRemoteForward(notice: RemoteForwardNotice, output: Output): void {
  const { state, forward } = notice;
  if (notice.state !== 'listening') {
    const { code, message } = notice.error;
    output.event({ event: 'remote-forward', state, forward, code, message });
    output.say(`${sentence(forward, notice.state)}: ${message} wstun asks for it again.`, 'warn');
    return;
  }
  const { again } = notice;
  const bound = formatHostPort(notice.bound);
  const to = notice.to === 'socks' ? 'socks' : formatHostPort(notice.to);
  output.event({ event: 'remote-forward', state, forward, bound, to, again });
  const where = to === 'socks' ? 'is a SOCKS proxy of this machine' : `leads to ${to}`;
  output.say(`${bound}${forward.endsWith('/udp') ? ' (UDP)' : ''} at the exit ${where}${again ? ' again' : ''}`);
}

function sentence(forward: string, state: 'refused' | 'lost'): string {
  return state === 'refused' ? `no port at the exit for ${forward}` : `the port at the exit for ${forward} is closed`;
}

export function reportDnsListening(listen: HostPort, output: Output): void {
  const at = formatHostPort(listen);
  output.event({ event: 'dns-listening', listen: at });
  output.say(`name server on ${at}, UDP and TCP: names are resolved at the exit`);
}
