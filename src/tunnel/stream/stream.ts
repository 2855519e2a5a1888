/** What a proxy and an exit see of the tunnel. Only types, so that they depend on no implementation. */
import type { Duplex } from 'node:stream';
import type { WireFaultName } from '../../errors.ts';
import type { Service } from '../../protocol/services.ts';
import type { Target } from '../../protocol/target.ts';
import type { Association, AssociationHandler, ServedListener } from './services.ts';

export type { Target };

/**
 * One proxied connection. The two directions end independently: `end()` finishes ours, 'end' says that the peer
 * finished its own. `destroy(error)` resets both; a WstunError tells the peer why. With `target-reset` the reset is
 * sent after what was written to the stream, with any other fault at once. A reset by the peer, or the loss of the
 * session, destroys it with a WstunError, and there is no clean 'end'; a `target-reset` comes only when all bytes
 * before it have been read.
 *
 * Memory (memory/pieces.ts): `write` takes the chunk, and releases it when the tunnel has its bytes. A chunk of 'data'
 * or `read` belongs to its reader, who releases it; one that waits for a slow reader stays whole.
 */
export interface TunnelStream extends Duplex {
  readonly target: Target;
  /** The session has no link at the moment: no bytes move, and none are lost. */
  readonly isAway?: boolean;
}

/** What a proxy needs of a client's session. */
export interface StreamOpener {
  /**
   * Resolves when the exit's dial has succeeded. Rejects with a WstunError: a dial fault from the exit, `not-connected`
   * when no session came up in time, `dial-cancelled` when `signal` fired first. Waits at most 10 s for a session and
   * 20 s for the exit's answer.
   */
  open(target: Target, signal: AbortSignal): Promise<TunnelStream>;
}

/**
 * A stream that the peer asks this end to open. Exactly one of `refuse` and, by its service, `accept`,
 * `acceptAssociation` and `acceptListener`; then `release`, when nothing of it is left (no socket, no dial, no
 * look-up): only that frees its slot in the session.
 */
export interface OfferedStream {
  readonly service: Service;
  /** Of `udp` with port 0, and of `resolver`, it says nothing; of `accepted` it is who has connected. */
  readonly target: Target;
  /** The name of the peer's access entry. */
  readonly peer: string;
  /** Fires when the peer has given the stream up or the session has ended, before or after `accept`. */
  readonly signal: AbortSignal;
  /** The session has no link at the moment. */
  readonly isAway?: boolean;
  /** Of `tcp`, `resolver` and `accepted`. The stream may be destroyed already, where the peer has given it up. */
  accept(): TunnelStream;
  /**
   * Of `udp` and `udp-listener`. Datagrams that came before are handled in the same turn. @param bound of a listener
   */
  acceptAssociation(handler: AssociationHandler, bound?: Target): Association;
  /** Of `tcp-listener`: `signal` tells when the client has closed it, or its session is over. */
  acceptListener(bound: Target): ServedListener;
  refuse(fault: WireFaultName): void;
  release(): void;
}

/** What an exit is to a session. */
export interface StreamAcceptor {
  /** Must not throw; answers by calling `accept` or `refuse`, now or later. */
  handleOffer(offer: OfferedStream): void;
}
