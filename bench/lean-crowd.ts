/**
 * Very many sessions of one process: they begin a few at a time, ping every 15 s, and come back when their links are
 * lost, each on its own and with the pauses of a client of wstun.
 */
import { FAULTS, type FaultName, WstunError } from '../src/errors.ts';
import { DEFAULT_MUX_CONFIG } from '../src/mux/config.ts';
import { Backoff } from '../src/tunnel/reconnect/backoff.ts';
import { Outage } from '../src/tunnel/reconnect/outage.ts';
import type { LinkPlace } from './lean-link.ts';
import { LeanPeer } from './lean-peer.ts';
import { LeanSession, type SessionOwner } from './lean-session.ts';

/** Sessions that wait for their next ping, by when it is due. */
const SLOT_MS = 50;
const SLOTS = DEFAULT_MUX_CONFIG.pingIntervalMs / SLOT_MS;
/** An attempt that reached no relay for so long is followed soon by the next one, as a client's. */
const UNREACHED_MS = 3_000;
const UNREACHED_WAIT_MS = 1_000;
/** After these the exit has no session, and the next attempt begins one at once. */
const SESSION_FAULTS: ReadonlySet<string> = new Set(['session-unknown', 'session-expired', 'session-gap']);

/** Of a session without a link. */
interface Absence {
  readonly backoff: Backoff;
  readonly outage: Outage;
  dialledAt: number;
}

export interface Returns {
  /** Sessions that were down, and are up again, by how long that took, ms. */
  readonly milliseconds: number[];
  /** The latest, ms since 1970. */
  lastAt: number;
  /** What ended attempts, and links that worked. */
  readonly attempts: Map<string, number>;
  readonly losses: Map<string, number>;
}

export class LeanCrowd implements SessionOwner {
  readonly sessions: LeanSession[] = [];
  returns = noReturns();
  private upCount = 0;
  private readonly absences = new Map<LeanSession, Absence>();
  private readonly slots = Array.from({ length: SLOTS }, () => new Set<LeanSession>());
  private readonly slotOf = new Map<LeanSession, number>();
  private slot = 0;
  private begunAt = performance.now();
  private onUp: (() => void) | undefined;

  constructor(private readonly onData: (session: LeanSession, bytes: number) => void) {
    setInterval(() => this.turn(), SLOT_MS);
  }

  get up(): number {
    return this.upCount;
  }

  /** @param atOnce so many are under way. Resolves when all of them are up */
  async begin(invites: readonly string[], perInvite: number, source: string, atOnce: number): Promise<void> {
    const places = invites.flatMap((invite) => {
      const peer = new LeanPeer(invite);
      const place = placeOf(peer.relay, source);
      return Array.from({ length: perInvite }, () => ({ peer, place }));
    });
    const all = this.sessions.length + places.length;
    const more = (): void => {
      while (places.length > 0 && this.sessions.length - this.upCount < atOnce) {
        const next = places.pop();
        if (next !== undefined) this.add(next.peer, next.place);
      }
    };
    more();
    await this.untilUp(all, more);
  }

  /** Resolves when so many are up. */
  untilUp(count: number, onUp: () => void = () => {}): Promise<void> {
    return new Promise((resolve) => {
      this.onUp = () => {
        onUp();
        if (this.upCount < count) return;
        this.onUp = undefined;
        resolve();
      };
      this.onUp();
    });
  }

  /** Counts from now on. */
  mark(): void {
    this.returns = noReturns();
  }

  cutAll(): void {
    for (const session of this.sessions) session.cut();
  }

  private add(peer: LeanPeer, place: LinkPlace): void {
    const session = new LeanSession(peer, place, this);
    this.sessions.push(session);
    session.downAt = performance.now();
    this.dialAfter(session, this.absenceOf(session), 0);
  }

  // ── SessionOwner ───────────────────────────────────────────────────────────────────────────────────────────────────

  handleUp(session: LeanSession): void {
    const now = performance.now();
    this.upCount += 1;
    session.upAt = now;
    this.absences.delete(session);
    this.slotOf.set(session, this.slot);
    this.slots[this.slot]?.add(session);
    this.returns.milliseconds.push(now - session.downAt);
    this.returns.lastAt = Date.now();
    this.onUp?.();
  }

  handleDown(session: LeanSession, why: string, wasUp: boolean): void {
    const now = performance.now();
    const absence = this.absenceOf(session);
    count(wasUp ? this.returns.losses : this.returns.attempts, why);
    if (wasUp) {
      this.upCount -= 1;
      session.downAt = now;
      this.slots[this.slotOf.get(session) ?? 0]?.delete(session);
      this.slotOf.delete(session);
      absence.backoff.handleLost(now - session.upAt);
      return this.dialAfter(session, absence, absence.backoff.next(Math.random()));
    }
    if (!SESSION_FAULTS.has(why)) return this.dialAfter(session, absence, waitAfter(why, absence, now));
    absence.backoff.handleLost(0);
    this.dialAfter(session, absence, absence.backoff.next(Math.random()));
  }

  handleData(session: LeanSession, bytes: number): void {
    this.onData(session, bytes);
  }

  private absenceOf(session: LeanSession): Absence {
    const known = this.absences.get(session);
    if (known !== undefined) return known;
    const backoff = new Backoff();
    const absence = { backoff, outage: new Outage({ backoff }), dialledAt: 0 };
    this.absences.set(session, absence);
    return absence;
  }

  private dialAfter(session: LeanSession, absence: Absence, waitMs: number): void {
    setTimeout(() => {
      absence.dialledAt = performance.now();
      session.dial();
    }, waitMs);
  }

  private turn(): void {
    const due = Math.floor((performance.now() - this.begunAt) / SLOT_MS);
    // A process that was late makes up for it, but no session twice.
    if (due > SLOTS) this.begunAt = performance.now() - SLOTS * SLOT_MS;
    for (let turns = Math.min(due, SLOTS); turns > 0; turns--) {
      this.begunAt += SLOT_MS;
      this.slot = (this.slot + 1) % SLOTS;
      for (const session of this.slots[this.slot] ?? []) session.ping();
    }
  }
}

function noReturns(): Returns {
  return { milliseconds: [], lastAt: 0, attempts: new Map(), losses: new Map() };
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

/** As a client decides, by the fault that it would have. */
function waitAfter(why: string, { outage, dialledAt }: Absence, now: number): number {
  const fault = faultOf(why);
  const decision = outage.handleFailure(new WstunError(fault), now, Math.random());
  if ('final' in decision) throw decision.final;
  const isUnreached = fault === 'relay-unreachable' && now - dialledAt >= UNREACHED_MS;
  return isUnreached ? Math.min(decision.waitMs, UNREACHED_WAIT_MS) : decision.waitMs;
}

function faultOf(why: string): FaultName {
  if (Object.hasOwn(FAULTS, why)) return why as FaultName;
  return why.startsWith('HTTP') ? 'relay-refused' : 'relay-unreachable';
}

function placeOf(relay: string, source: string): LinkPlace {
  const { hostname, port } = new URL(relay);
  return { host: hostname, port: Number(port), source };
}
