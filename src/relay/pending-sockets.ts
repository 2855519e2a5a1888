/**
 * The connections that are not links (yet): strangers, handshakes under way, answers being read. Bounds their number,
 * in all and from one source. Whoever comes beyond a bound waits unread until another is done, or has taken too long: a
 * crowd that comes at once is let in as fast as it can be, no connection near the end of its handshake has to go for
 * one that has not begun, and idle strangers hold a place no longer than their grace.
 *
 * Knows sources as names only; which address belongs to which, and which to none, is source-limits.ts.
 */
import type { Socket } from 'node:net';

export interface PendingLimits {
  /** Served at once, in all. */
  readonly total: number;
  /** Served at once, from one source. */
  readonly perSource: number;
}

/** How a connection is to be treated. */
export interface Treatment {
  /** Undefined: it counts among all alone. */
  readonly source: string | undefined;
  /** From the addresses of exits more come at once: each call of a client is a connection. */
  readonly isExit?: boolean;
  /** Of a source that knocks too often: few at once, in little time. Whether the next may be served is asked here. */
  readonly mayBegin?: (now: number) => boolean;
}

/** Two calls at a time of an exit that is called 128 times at once. */
const EXIT_TIMES = 4;
/**
 * Of a source that knocks too often: a page of a browser has six at once, and a client is to come through beside it.
 */
const RESTRICTED_AT_ONCE = 4;
const RESTRICTED_WAITING = 32;
/** Of all such sources: apart from the others that wait, so that they push nobody out. */
const ALL_RESTRICTED_WAITING = 256;
/** A head is one packet behind a handshake of two round trips. */
const RESTRICTED_MS = 3_000;
/** Waiting, for each that may be served at once: 256 clients of one address in the same instant. */
const WAITING_TIMES = 3;
/** So long the oldest of a full house may take while others wait: several round trips of a bad line. */
const GRACE_MS = 3_000;
/** How often it is looked whether somebody took too long, or has a turn by now. */
const LOOK_MS = 100;

interface Pending {
  readonly key: string;
  readonly socket: Socket;
  readonly from: Source;
  readonly treatment: Treatment;
  readonly begin: () => void;
  readonly onClose: () => void;
  /** Undefined while it waits. */
  begunAt: number | undefined;
}

interface Source {
  readonly name: string | undefined;
  /** The oldest first. */
  readonly served: Set<Pending>;
  readonly waiting: Set<Pending>;
}

export class PendingSockets {
  private readonly limits: PendingLimits;
  private readonly onFailed: (source: string, wasDropped: boolean) => void;
  /** By addresses and ports: over TLS the socket of a request is another object than the one that was accepted. */
  private readonly sockets = new Map<string, Pending>();
  private readonly sources = new Map<string | undefined, Source>();
  /** The oldest first, both. */
  private readonly served = new Set<Pending>();
  private readonly waiting = new Set<Pending>();
  /** Of those that wait. */
  private restrictedWaiting = 0;
  private looks: NodeJS.Timeout | undefined;

  /**
   * `onFailed`: a connection of a source ended and had not become a link, `wasDropped` where it took too long while
   * others waited. Not those that had to go because all sources were too many, nor those that were never served.
   */
  constructor(limits: PendingLimits, onFailed: (source: string, wasDropped: boolean) => void) {
    this.limits = limits;
    this.onFailed = onFailed;
  }

  /** @param begin serves it, now or later; until then nothing of it is read by anybody */
  add(socket: Socket, treatment: Treatment, begin: () => void): void {
    const key = keyOf(socket);
    const from = this.sourceOf(treatment.source);
    const onClose = (): void => this.end(pending);
    const pending: Pending = { key, socket, from, treatment, begin, onClose, begunAt: undefined };
    socket.on('close', onClose);
    socket.on('error', ignore);
    this.sockets.set(key, pending);
    from.waiting.add(pending);
    this.waiting.add(pending);
    if (treatment.mayBegin !== undefined) this.restrictedWaiting += 1;
    this.serve();
    if (pending.begunAt === undefined) this.boundWaiting(pending);
    this.looks ??= setInterval(() => this.look(), LOOK_MS).unref();
  }

  /** It has become a link. */
  release(socket: Socket): void {
    const pending = this.sockets.get(keyOf(socket));
    if (pending === undefined) return;
    this.forget(pending);
    this.serve();
  }

  /** Its source knocks too often: whatever it asks, it hears nothing unless it has a ticket. */
  isRestricted(socket: Socket): boolean {
    return this.sockets.get(keyOf(socket))?.treatment.mayBegin !== undefined;
  }

  destroyAll(): void {
    clearInterval(this.looks);
    for (const { socket } of this.sockets.values()) socket.destroy();
    this.sockets.clear();
    this.sources.clear();
    this.served.clear();
    this.waiting.clear();
    this.restrictedWaiting = 0;
  }

  /** Whoever waits longest and has a place. */
  private serve(): void {
    const now = performance.now();
    for (const pending of this.waiting) {
      if (this.served.size >= this.limits.total) return;
      if (!this.hasPlace(pending.from, pending.treatment)) continue;
      if (pending.treatment.mayBegin?.(now) === false) continue;
      this.waitNoMore(pending);
      pending.begunAt = now;
      this.served.add(pending);
      pending.from.served.add(pending);
      pending.socket.off('error', ignore);
      pending.begin();
    }
  }

  private hasPlace({ name, served }: Source, treatment: Treatment): boolean {
    return name === undefined || served.size < this.placesOf(treatment);
  }

  private placesOf({ isExit = false, mayBegin }: Treatment): number {
    const { perSource } = this.limits;
    if (mayBegin !== undefined) return Math.min(RESTRICTED_AT_ONCE, perSource);
    return isExit ? EXIT_TIMES * perSource : perSource;
  }

  /**
   * Of one source the newest goes; of all, the one that is served longest, so that a flood must outrun handshakes to
   * lock anybody out.
   */
  private boundWaiting(pending: Pending): void {
    const { from, treatment, socket } = pending;
    const isRestricted = treatment.mayBegin !== undefined;
    const most = isRestricted ? RESTRICTED_WAITING : WAITING_TIMES * this.limits.perSource;
    const isTooMany = from.name !== undefined && from.waiting.size > most;
    if (isTooMany || (isRestricted && this.restrictedWaiting > ALL_RESTRICTED_WAITING)) this.drop(pending);
    else if (!isRestricted && this.waiting.size - this.restrictedWaiting > this.limits.total) this.dropOldest();
    if (!socket.destroyed) this.serve();
  }

  private dropOldest(): void {
    const [oldest] = this.served;
    if (oldest !== undefined) this.drop(oldest);
  }

  private look(): void {
    const now = performance.now();
    for (const { name, served, waiting } of this.sources.values())
      if (name !== undefined) this.dropSlow(served, waiting.size, now);
    if (this.served.size >= this.limits.total) this.dropSlow(this.served, this.waiting.size, now);
    for (const pending of this.served) if (isOverdue(pending, now)) this.drop(pending);
    this.serve();
    if (this.sockets.size > 0) return;
    clearInterval(this.looks);
    this.looks = undefined;
  }

  /** Those that have taken too long, as many as others wait for their places. */
  private dropSlow(served: ReadonlySet<Pending>, waiting: number, now: number): void {
    let dropped = 0;
    for (const pending of served) {
      if (dropped >= waiting || now - (pending.begunAt ?? now) < GRACE_MS) return;
      dropped += 1;
      this.drop(pending);
      this.tellFailed(pending, true);
    }
  }

  private end(pending: Pending): void {
    this.forget(pending);
    if (pending.begunAt !== undefined) this.tellFailed(pending, false);
    this.serve();
  }

  private tellFailed({ from, treatment }: Pending, wasDropped: boolean): void {
    if (from.name !== undefined && treatment.mayBegin === undefined) this.onFailed(from.name, wasDropped);
  }

  private drop(pending: Pending): void {
    this.forget(pending);
    pending.socket.destroy();
  }

  private forget(pending: Pending): void {
    const { key, socket, from, onClose } = pending;
    if (this.sockets.get(key) === pending) this.sockets.delete(key);
    this.served.delete(pending);
    from.served.delete(pending);
    this.waitNoMore(pending);
    if (from.served.size === 0 && from.waiting.size === 0) this.sources.delete(from.name);
    // A link lives long, and has no use for it.
    socket.off('close', onClose);
  }

  private waitNoMore(pending: Pending): void {
    if (!this.waiting.delete(pending)) return;
    pending.from.waiting.delete(pending);
    if (pending.treatment.mayBegin !== undefined) this.restrictedWaiting -= 1;
  }

  private sourceOf(name: string | undefined): Source {
    const known = this.sources.get(name);
    if (known !== undefined) return known;
    const source = { name, served: new Set<Pending>(), waiting: new Set<Pending>() };
    this.sources.set(name, source);
    return source;
  }
}

function isOverdue({ treatment, begunAt }: Pending, now: number): boolean {
  return treatment.mayBegin !== undefined && begunAt !== undefined && now - begunAt > RESTRICTED_MS;
}

/** A connection that waits may be reset, and nobody else listens yet. */
function ignore(): void {}

function keyOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
