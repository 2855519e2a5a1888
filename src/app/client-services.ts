/**
 * What a client offers beside its proxy: forwards, ports at the exit, a name server, transparent proxies. Each is made
 * of the client's options here, and started and closed with it.
 */
import type { Logger } from '../observability/logger.ts';
import type { AssociationOpener, ListenerOpener, ResolverOpener } from '../tunnel/stream/services.ts';
import type { StreamOpener } from '../tunnel/stream/stream.ts';

/** All that a session can do for a client. */
export interface Tunnel extends StreamOpener, AssociationOpener, ResolverOpener, ListenerOpener {}

export interface ClientService {
  /** Resolves when its ports are open, and rejects with a WstunError. What fails leaves nothing open. */
  start(): Promise<void>;
  /** Accepts nothing new, gives what is open `graceMs`, then ends it. May be called again. Never rejects. */
  close(graceMs: number): Promise<void>;
}

export interface ServiceParts {
  readonly tunnel: Tunnel;
  readonly logger: Logger;
}
