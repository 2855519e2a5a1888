/**
 * What a session carries beside TCP connections that a client asks for (docs/protocol.md §7.1): UDP associations,
 * listeners at the exit, and the exit's resolver. Only types, so that proxies and exits depend on no implementation.
 */
import type { WireFaultName, WstunError } from '../../errors.ts';
import type { Service } from '../../protocol/services.ts';
import type { Target } from '../../protocol/target.ts';
import type { OfferedStream, TunnelStream } from './stream.ts';

export type { Service };

/** The owner of an association. Nothing of it may throw. */
export interface AssociationHandler {
  /**
   * One datagram, 0 to 65,507 bytes, which belong to the handler.
   * @param from its sender; undefined where the association is connected
   */
  handleDatagram(bytes: Uint8Array, from: Target | undefined): void;
  /** The other end has accepted it. @param bound of a listener: where it listens */
  handleOpened?(bound: Target | undefined): void;
  /**
   * Once, and nothing follows: a fault, or undefined where the other end has closed it because it was idle. Not after
   * `close`, and not during the call that has made the association.
   */
  handleEnd(error: WstunError | undefined): void;
}

/**
 * Datagrams both ways, as UDP: they may be lost, and those of one association that arrive keep their order unless links
 * were lost. One that has waited for 250 ms is dropped; so is one that no record can hold.
 */
export interface Association {
  /** Takes the bytes. @param to needed unless the association is connected; a name is resolved by the exit */
  send(bytes: Uint8Array, to?: Target): void;
  /** Idempotent. @param fault what the other end is told; undefined: it was idle, or is not needed any more */
  close(fault?: WireFaultName): void;
}

/** What needs UDP of a client's session. */
export interface AssociationOpener {
  /** True: the other end of the present session is too old for UDP. False also where that is not known. */
  readonly lacksUdp: boolean;
  /**
   * Datagrams may be sent at once, before the exit's answer. An association ends with its session; its owner opens
   * another when it has something to send.
   * @param target the only one with which it exchanges datagrams; undefined: each datagram says its own
   * @throws WstunError not-connected, service-unknown, dial-busy, shutting-down, dial-bad-target
   */
  openAssociation(target: Target | undefined, handler: AssociationHandler): Association;
}

/** What resolves names by a client's session. */
export interface ResolverOpener {
  /** A stream of DNS messages, each with its length before it (RFC 1035 §4.2.2), both ways. Rejects as `open`. */
  openResolver(signal: AbortSignal): Promise<TunnelStream>;
}

/** The owner of a TCP listener at the exit. Nothing of it may throw. */
export interface ListenerHandler {
  /** A connection that the listener has accepted; its `target` is who has connected. As StreamAcceptor. */
  handleConnection(offer: OfferedStream): void;
  /** Once, and nothing follows: the session is over, or the exit has closed it. Not after `close`. */
  handleEnd(error: WstunError): void;
}

export interface TunnelListener {
  /** Where it listens: an address and a port. */
  readonly bound: Target;
  /** Connections that it has accepted go on. Idempotent. */
  close(): void;
}

/** What has ports at the exit that lead here. */
export interface ListenerOpener {
  /**
   * A listener lives as long as its session, across lost links. Waits as `StreamOpener.open`.
   * @param address an address or name of the exit's machine; port 0: any that the exit allows
   * Rejects with a WstunError: listen-not-allowed, listen-in-use, listen-failed, service-unknown, or as `open`.
   */
  listenTcp(address: Target, handler: ListenerHandler, signal: AbortSignal): Promise<TunnelListener>;
  /**
   * The same for UDP: an association whose datagrams come from anyone, and go back to whom they name. `handleOpened`
   * tells where it listens. @throws as openAssociation
   */
  listenUdp(address: Target, handler: AssociationHandler): Association;
}

/** All of these that a client's session has. */
export interface SessionServices extends AssociationOpener, ResolverOpener, ListenerOpener {}

/** A TCP listener, as the exit sees it: it offers connections to the client. */
export interface ServedListener {
  /** Resolves when the client has taken the connection. Rejects with a WstunError, within 20 s. */
  open(remote: Target, signal: AbortSignal): Promise<TunnelStream>;
  /** Tells the client that nothing listens any more. Idempotent. */
  close(fault: WireFaultName): void;
}
