/** What `import … from 'wstun'` offers; docs/api.md describes it. Nothing runs at import. */

export type { AcmeOptions } from './app/acme.ts';
export type { BrowserNotice } from './app/browser-carrier.ts';
export { type Client, type ClientEvents, type ClientOptions, type ClientUpdate, startClient } from './app/client.ts';
export type { DialOptions } from './app/dial-options.ts';
export { type Exit, type ExitEvents, type ExitOptions, type ExitUpdate, startExit } from './app/exit.ts';
export type { ForwardNotice } from './app/forwarding.ts';
export type { PeerOptions } from './app/invites.ts';
export { tuneMemory } from './app/memory-tuning.ts';
export type { ReachOptions } from './app/reach-options.ts';
export { type Relay, type RelayOptions, type RelayUpdate, startRelay } from './app/relay.ts';
export type { RemoteForwardNotice } from './app/remote-forwarding.ts';
export type {
  ClientState,
  ClientStatus,
  PeerStatus,
  PingStatus,
  RelayStatus,
  ServingStatus,
  Status,
  StatusFault,
  StreamStatus,
  Traffic,
} from './app/status.ts';
export type { TetherNotice } from './app/tether.ts';
export { type FaultName, WstunError } from './errors.ts';
export type { HostPort } from './net/host-port.ts';
export { describeTarget, type Logger } from './observability/logger.ts';
