/**
 * The connections that are not links (yet): strangers, handshakes under way, responses being read. Limits their number,
 * in all and from one source (source-limits.ts). A connection beyond a limit waits unread until another is done, or has
 * taken too long. So clients that come at once get in as fast as possible, no handshake near its end is closed for one
 * that has not begun, and idle strangers hold a slot no longer than the grace period.
 */
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../clock.ts';
import { connectionKey } from './proxies/client-addresses.ts';

export interface PendingLimits {
  /** Served at once, in all. */
  readonly total: number;
  /** Served at once, from one source. */
  readonly perSource: number;
  /** The limit for one source holds while more than this many are served, in all. Default: always. */
  readonly fairFrom?: number;
}

/** How a connection is to be treated. */
export interface Treatment {
  /** Undefined: only the limit on all connections holds. */
  readonly source: string | undefined;
  /** Exits open more at once: they dial for each client. */
  readonly isExit?: boolean;
  /** Set for a source under a penalty: few of its connections are served, shortly. Whether the next may be. */
  readonly mayBegin?: (now: number) => boolean;
}

/** Times the limit of one source: two connections for each of the 128 requests that an exit gets at once. */
const EXIT_FACTOR = 4;
/** Of a source under a penalty: a browser's page opens six at once, and a client must get through beside it. */
const MAX_RESTRICTED_SERVED = 4;
const MAX_RESTRICTED_WAITING = 32;
/** Of all such sources. They wait apart from the others, so that they displace none. */
const MAX_ALL_RESTRICTED_WAITING = 256;
/** A head is one packet after a handshake of two round trips. */
const RESTRICTED_MS = 3_000;
/** Waiting, for each that may be served at once: 256 clients of one address in the same instant. */
const WAITING_FACTOR = 3;
/** How long a connection may take while others wait for its slot: several round trips of a bad line. */
const GRACE_MS = 3_000;
/** How often connections are checked that take too long, or may have their turn now. */
const CHECK_MS = 100;

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
  /** By `connectionKey`. */
  private readonly sockets = new Map<string, Pending>();
  private readonly sources = new Map<string | undefined, Source>();
  /** The oldest first, both. */
  private readonly served = new Set<Pending>();
  private readonly waiting = new Set<Pending>();
  /** Of those that wait. */
  private restrictedWaiting = 0;
  private checks: Timer | undefined;

  constructor(
    private limits: PendingLimits,
    /**
     * A served connection of a source ended without becoming a link. `wasDropped`: it took too long while others
     * waited. Not called for those that were closed because all sources have too many.
     */
    private readonly onFailed: (source: string, wasDropped: boolean) => void,
    private readonly clock: Clock,
  ) {}

  /** Served and waiting. */
  get size(): number {
    return this.sockets.size;
  }

  /** For connections from now on. */
  setPerSource(perSource: number): void {
    this.limits = { ...this.limits, perSource };
  }

  /** @param begin serves it, now or later; nothing of it is read before */
  add(socket: Socket, treatment: Treatment, begin: () => void): void {
    const key = connectionKey(socket);
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
    if (pending.begunAt === undefined) this.limitWaiting(pending);
    if (this.checks === undefined) this.checkLater();
  }

  /** It has become a link. */
  release(socket: Socket): void {
    const pending = this.sockets.get(connectionKey(socket));
    if (pending === undefined) return;
    this.forget(pending);
    this.serve();
  }

  /** Its source is under a penalty: it gets no response unless it has a valid ticket. */
  isRestricted(socket: Socket): boolean {
    return this.sockets.get(connectionKey(socket))?.treatment.mayBegin !== undefined;
  }

  destroyAll(): void {
    this.clock.clearTimeout(this.checks);
    for (const { socket } of this.sockets.values()) socket.destroy();
    this.sockets.clear();
    this.sources.clear();
    this.served.clear();
    this.waiting.clear();
    this.restrictedWaiting = 0;
  }

  /** Begins those that wait, the oldest first, as far as there are slots. */
  private serve(): void {
    const now = this.clock.now();
    for (const pending of this.waiting) {
      if (this.served.size >= this.limits.total) return;
      if (!this.hasSlot(pending.from, pending.treatment)) continue;
      if (pending.treatment.mayBegin?.(now) === false) continue;
      this.stopWaiting(pending);
      pending.begunAt = now;
      this.served.add(pending);
      pending.from.served.add(pending);
      pending.socket.off('error', ignore);
      pending.begin();
    }
  }

  private hasSlot({ name, served }: Source, treatment: Treatment): boolean {
    const isScarce = this.served.size >= (this.limits.fairFrom ?? 0);
    return name === undefined || !isScarce || served.size < this.slotsOf(treatment);
  }

  private slotsOf({ isExit = false, mayBegin }: Treatment): number {
    const { perSource } = this.limits;
    if (mayBegin !== undefined) return Math.min(MAX_RESTRICTED_SERVED, perSource);
    return isExit ? EXIT_FACTOR * perSource : perSource;
  }

  /** If one source has too many, its newest is closed; else the one served longest: slower floods lock no one out. */
  private limitWaiting(pending: Pending): void {
    const { from, treatment, socket } = pending;
    const isRestricted = treatment.mayBegin !== undefined;
    const most = isRestricted ? MAX_RESTRICTED_WAITING : WAITING_FACTOR * this.limits.perSource;
    const isTooMany = from.name !== undefined && from.waiting.size > most;
    if (isTooMany || (isRestricted && this.restrictedWaiting > MAX_ALL_RESTRICTED_WAITING)) this.drop(pending);
    else if (!isRestricted && this.waiting.size - this.restrictedWaiting > this.limits.total) this.dropOldest();
    if (!socket.destroyed) this.serve();
  }

  private dropOldest(): void {
    const [oldest] = this.served;
    if (oldest !== undefined) this.drop(oldest);
  }

  private checkLater(): void {
    this.checks = this.clock.setTimeout(() => this.check(), CHECK_MS).unref();
  }

  private check(): void {
    this.checkLater();
    const now = this.clock.now();
    for (const { name, served, waiting } of this.sources.values())
      if (name !== undefined) this.dropSlow(served, waiting.size, now);
    if (this.served.size >= this.limits.total) this.dropSlow(this.served, this.waiting.size, now);
    for (const pending of this.served) if (isOverdue(pending, now)) this.drop(pending);
    this.serve();
    if (this.sockets.size > 0) return;
    this.clock.clearTimeout(this.checks);
    this.checks = undefined;
  }

  /** Closes connections that have taken too long: as many as wait for their slots. */
  private dropSlow(served: ReadonlySet<Pending>, waiting: number, now: number): void {
    let dropped = 0;
    for (const pending of served) {
      if (dropped >= waiting || now - (pending.begunAt ?? now) < GRACE_MS) return;
      dropped += 1;
      this.drop(pending);
      this.reportFailed(pending, true);
    }
  }

  private end(pending: Pending): void {
    this.forget(pending);
    if (pending.begunAt !== undefined) this.reportFailed(pending, false);
    this.serve();
  }

  private reportFailed({ from, treatment }: Pending, wasDropped: boolean): void {
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
    this.stopWaiting(pending);
    if (from.served.size === 0 && from.waiting.size === 0) this.sources.delete(from.name);
    // A link lives long, and does not need this listener.
    socket.off('close', onClose);
  }

  private stopWaiting(pending: Pending): void {
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

/** A connection that waits may be reset, and nothing else handles the error yet. */
function ignore(): void {}
