/** What a person does on macOS and Windows, where `wstun vpn` changes nothing itself. Pure. */
import { formatHostPort, type HostPort } from '../net/host-port.ts';

export interface OtherSystemFacts {
  readonly platform: string;
  /** Of relays, and of proxies to them. */
  readonly relays: readonly string[];
  readonly proxy: HostPort;
}

export function otherSystemLines({ platform, relays, proxy }: OtherSystemFacts): string {
  const bypass = relays.map((address) => `--bypass ${address}`).join(' ');
  const options = `--setup --proxy socks5://${formatHostPort(proxy)} --dns virtual ${bypass}`;
  const isWindows = platform === 'win32';
  return `wstun vpn changes the routes of Linux only. Here, tun2proxy can do it itself
(github.com/tun2proxy/tun2proxy/releases${isWindows ? ', and wintun.dll from wintun.net beside it' : ''}):

  1. In one ${isWindows ? 'window' : 'terminal'}, and leave it open:
     wstun client
  2. In another one, ${isWindows ? 'as administrator' : 'as root'}; Ctrl-C ends it:
     ${isWindows ? 'tun2proxy-bin.exe' : 'sudo tun2proxy-bin'} ${options}

The addresses behind --bypass are those of your relay at the moment. With
another one, start both again. docs/whole-machine.md has the limits.`;
}
