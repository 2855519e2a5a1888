/**
 * What the services on either side see of the tunnel: a proxy opens streams, an exit is offered them. Types only, so
 * that `proxy` and `exit` depend on no machinery: they may import this file of `tunnel` and no other.
 */
import type { Duplex } from 'node:stream';
import type { WireFaultName } from '../../errors.ts';
import type { Target } from '../../protocol/target.ts';

export type { Target };

/**
 * One proxied connection. The two directions end independently: `end()` finishes ours, 'end' says that the peer
 * finished its own. `destroy(error)` resets both; a WstunError tells the peer why. With `target-reset` the reset goes
 * out behind what the stream has taken, with any other fault at once. A reset by the peer, or the loss of the session,
 * destroys it with a WstunError: never a clean 'end'; one with `target-reset` only when all bytes before it have been
 * read.
 *
 * Memory (memory/pieces.ts): `write` takes the chunk, and releases it when the tunnel has its bytes. A chunk of 'data'
 * or `read` belongs to whoever reads it, who releases it; one that waits for a slow reader stays whole.
 */
export interface TunnelStream extends Duplex {
  readonly target: Target;
  /** The session has no link at the moment: nothing moves, and nothing is lost. */
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
 * A stream that the peer asks an exit to open. Exactly one of `accept` and `refuse`; then, when nothing of it is left
 * (no socket, no dial, no look-up), `release`: only that frees its place in the session.
 */
export interface OfferedStream {
  readonly target: Target;
  /** The name of the access entry whose peer asks. */
  readonly peer: string;
  /** Fires when the peer gave the stream up or the session ended, before or after `accept`. */
  readonly signal: AbortSignal;
  /** The stream may already be destroyed when the peer was faster. */
  accept(): TunnelStream;
  refuse(fault: WireFaultName): void;
  release(): void;
}

/** What an exit is to a session. */
export interface StreamAcceptor {
  /** Must not throw; answers by calling `accept` or `refuse`, now or later. */
  handleOffer(offer: OfferedStream): void;
}
