/**
 * The connections that are not links (yet): strangers, handshakes under way, answers being read. Bounds their number, in all
 * and from one source, by closing the oldest: who has a ticket needs a few round trips, so a flood must outrun those to lock
 * anybody out, where refusing the newest would let idle strangers do it.
 *
 * Knows sources as names only; which address belongs to which, and which to none, is source-limits.ts.
 */
import type { Socket } from 'node:net';

export interface PendingLimits {
  /** In all. */
  readonly total: number;
  /** From one source. */
  readonly perSource: number;
}

interface Pending {
  readonly socket: Socket;
  readonly source: string | undefined;
  readonly onClose: () => void;
}

export class PendingSockets {
  readonly #limits: PendingLimits;
  readonly #onFailed: (source: string) => void;
  /** By addresses and ports: over TLS the socket of a request is another object than the one that was accepted. */
  readonly #sockets = new Map<string, Pending>();
  /** The keys of each source, the oldest first. */
  readonly #bySource = new Map<string, Set<string>>();

  /** `onFailed`: a connection ended and had not become a link; not those that had to go because all sources were too many. */
  constructor(limits: PendingLimits, onFailed: (source: string) => void) {
    this.#limits = limits;
    this.#onFailed = onFailed;
  }

  /** A connection of no source counts among all alone. */
  add(socket: Socket, source: string | undefined): void {
    const key = keyOf(socket);
    const onClose = (): void => {
      if (this.#sockets.get(key)?.socket === socket) this.#fail(key);
    };
    socket.on('close', onClose);
    this.#sockets.set(key, { socket, source, onClose });
    if (source !== undefined) this.#boundSource(source, key);
    if (this.#sockets.size > this.#limits.total) this.#dropOldest();
  }

  /** It has become a link. */
  release(socket: Socket): void {
    this.#forget(keyOf(socket));
  }

  destroyAll(): void {
    for (const { socket } of this.#sockets.values()) socket.destroy();
    this.#sockets.clear();
    this.#bySource.clear();
  }

  #boundSource(source: string, key: string): void {
    const keys = this.#bySource.get(source) ?? new Set();
    this.#bySource.set(source, keys.add(key));
    const [oldest] = keys;
    if (keys.size > this.#limits.perSource && oldest !== undefined) this.#fail(oldest);
  }

  #dropOldest(): void {
    for (const key of this.#sockets.keys()) {
      this.#forget(key)?.socket.destroy();
      return;
    }
  }

  #fail(key: string): void {
    const pending = this.#forget(key);
    pending?.socket.destroy();
    if (pending?.source !== undefined) this.#onFailed(pending.source);
  }

  #forget(key: string): Pending | undefined {
    const pending = this.#sockets.get(key);
    this.#sockets.delete(key);
    // A link lives long, and has no use for it.
    pending?.socket.off('close', pending.onClose);
    if (pending?.source === undefined) return pending;
    const keys = this.#bySource.get(pending.source);
    keys?.delete(key);
    if (keys?.size === 0) this.#bySource.delete(pending.source);
    return pending;
  }
}

function keyOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
