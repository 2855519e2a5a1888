/**
 * One end of a session with several links in virtual time: drives a ResumableSession as SessionDriver and
 * LinkSupervisor do, and checks after each turn what must hold at all times.
 */
import { releaseAll } from '../../../../src/memory/pieces.ts';
import type { MuxConfig } from '../../../../src/mux/config.ts';
import type { RecordPart } from '../../../../src/mux/links/kept-records.ts';
import type { ResumeConfig } from '../../../../src/mux/links/resume-config.ts';
import { RECORD_OVERHEAD_BYTES, RetransmitMemory } from '../../../../src/mux/links/retransmit-store.ts';
import type { SessionLink } from '../../../../src/mux/links/session-link.ts';
import { ResumableSession } from '../../../../src/mux/resumable-session.ts';
import { decodeRecordHeader } from '../../../../src/protocol/record-header.ts';
import { owned } from '../cuts.ts';
import type { DatagramCheck } from '../datagram-check.ts';
import { inside } from '../mux-internals.ts';
import { RigEnd, type Side } from '../mux-rig.ts';
import { heldBytes, inFlightOn, newestNumber, unackedParts } from './link-internals.ts';
import type { SimulatedLink } from './simulated-link.ts';
import type { VirtualTime } from './virtual-time.ts';

/** No turn of an honest session sends more messages than this. */
const MOST_OF_TURN = 10_000;
const MAX_RECORD_BYTES = 65_519;
/** Afterwards nothing is on its way that another link could overtake. */
const PAUSE_MS = 1_000;
/** Records without frames, which keep links open, are sent whatever is kept. */
const PINGS = 64;

export interface EndSettings {
  readonly mux: MuxConfig;
  readonly resume: ResumeConfig;
  readonly memoryBytes: number;
  /** From what happens until the end has sent what follows, ms. */
  turnMs(): number;
}

interface Carrier {
  readonly link: SimulatedLink;
  readonly state: SessionLink;
}

export interface EndOwner {
  /** Called for each link that this end drops, or leaves. */
  handleDropped(end: LinkedEnd, link: SimulatedLink, isGraceful: boolean): void;
  handleChange(end: LinkedEnd): void;
}

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`broken: ${what}`);
}

export class LinkedEnd extends RigEnd {
  readonly resumable: ResumableSession;
  readonly memory: RetransmitMemory;
  carriers: readonly Carrier[] = [];
  owner!: EndOwner;
  /** Frames in numbered records and pieces that were sent, bytes; and of different records. */
  sentBytes = 0;
  newBytes = 0;
  sentMessages = 0;
  placedRecords = 0;
  /** What has happened, and how often. */
  readonly counts = new Map<string, number>();
  private newest = 0;
  /** By which datagrams went last, and when. */
  private datagramLink: { readonly state: SessionLink; readonly at: number } | undefined;
  private isTurnPlanned = false;
  private wakesAt = Number.POSITIVE_INFINITY;

  constructor(
    side: Side,
    private readonly settings: EndSettings,
    private readonly time: VirtualTime,
  ) {
    const memory = new RetransmitMemory(settings.memoryBytes);
    const resumable = new ResumableSession(settings.mux, settings.resume, memory, time.now);
    super(side, settings.mux, time.clock, resumable.mux);
    this.resumable = resumable;
    this.memory = memory;
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** False: the session does not fit. */
  attach(link: SimulatedLink, peerReceived: number, saidReceived: number): boolean {
    const old = this.carriers;
    this.carriers = [];
    for (const carrier of old) this.owner.handleDropped(this, carrier.link, false);
    const state = this.resumable.attach(peerReceived, saidReceived, this.time.now);
    this.takeEvents();
    if (state !== undefined) this.addLink(link, state);
    return state !== undefined;
  }

  join(link: SimulatedLink, peerReceived: number): boolean {
    const state = this.resumable.join(peerReceived, this.time.now);
    if (state !== undefined) this.addLink(link, state);
    return state !== undefined;
  }

  private addLink(link: SimulatedLink, state: SessionLink): void {
    this.carriers = [...this.carriers, { link, state }];
    link.from(this.side).onDrain = () => {
      state.isFull = false;
      this.planTurn();
    };
    this.planTurn();
  }

  private carries(link: SimulatedLink): boolean {
    return this.carriers.some((carrier) => carrier.link === link);
  }

  /** The end is told that the link is gone. */
  lose(link: SimulatedLink): void {
    const carrier = this.carriers.find((one) => one.link === link);
    if (carrier === undefined) return;
    this.remove(carrier);
    this.resumable.detach(carrier.state, this.time.now);
    this.takeEvents();
    this.planTurn();
    this.owner.handleChange(this);
  }

  private remove(carrier: Carrier): void {
    this.carriers = this.carriers.filter((other) => other !== carrier);
  }

  private dropBecause(reason: string, link: SimulatedLink): void {
    if (!this.carries(link)) return;
    this.count(reason);
    this.lose(link);
    this.owner.handleDropped(this, link, false);
  }

  /** As SessionDriver. */
  dropSilentLink(ms: number): void {
    const [quietest] = [...this.carriers].sort((a, b) => a.state.heardAt - b.state.heardAt);
    if (quietest !== undefined && this.time.now - quietest.state.heardAt > ms)
      this.dropBecause('silent', quietest.link);
  }

  leaveNewest(): void {
    const newest = this.carriers.findLast(({ state }) => !state.isUnwanted);
    if (newest !== undefined) this.resumable.leave(newest.state);
    this.planTurn();
  }

  // ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  handleMessage(link: SimulatedLink, message: Buffer): void {
    const carrier = this.carriers.find((one) => one.link === link);
    if (carrier === undefined || this.resumable.mux.isOver) return;
    const hasRoom = this.resumable.handleMessage(carrier.state, [message], this.time.now);
    this.takeEvents();
    if (!hasRoom) this.dropBecause('no room', link);
    this.planTurn();
  }

  planTurn(): void {
    if (this.isTurnPlanned) return;
    this.isTurnPlanned = true;
    this.time.after(this.settings.turnMs(), () => {
      this.isTurnPlanned = false;
      this.turn();
    });
  }

  private turn(): void {
    const { now } = this.time;
    if (now >= this.resumable.nextTimeout()) this.handleTimeout();
    this.send();
    this.closeLeft();
    this.takeEvents();
    this.checkState();
    this.planWake();
    this.owner.handleChange(this);
  }

  private handleTimeout(): void {
    const { now } = this.time;
    this.resumable.handleTimeout(now);
    this.takeEvents();
    const stalled = this.resumable.stalledLinks(now);
    for (const { link, state } of this.carriers) if (stalled.includes(state)) this.dropBecause('stalled', link);
    if (this.resumable.linkState(now) === 'dead') for (const { link } of this.carriers) this.dropBecause('dead', link);
  }

  private planWake(): void {
    const at = Math.min(this.resumable.nextTimeout(), this.resumable.acknowledgementAt());
    const isFull = this.carriers.some(({ state }) => state.isFull);
    check(at > this.time.now || isFull, `nothing is due after a turn: ${at - this.time.now} ms`);
    check(this.resumable.nextTimeout() > this.time.now, 'no timer is due after a turn');
    if (at >= this.wakesAt || at === Number.POSITIVE_INFINITY) return;
    this.wakesAt = at;
    this.time.at(at, () => {
      if (this.wakesAt !== at) return;
      this.wakesAt = Number.POSITIVE_INFINITY;
      this.turn();
    });
  }

  private send(): void {
    const { now } = this.time;
    let count = 0;
    for (let next = this.resumable.poll(now); next !== undefined; next = this.resumable.poll(now)) {
      count += 1;
      check(count < MOST_OF_TURN, 'a turn ends');
      const { link: state, message } = next;
      const carrier = this.carriers.find((one) => one.state === state);
      check(carrier !== undefined, 'only links of the session carry it');
      const bytes = owned(Buffer.concat(message));
      releaseAll(message);
      this.note(bytes, state);
      const { link } = carrier;
      const hasRoom = link.from(this.side).send(bytes.length, () => this.peerEnd.handleMessage(link, bytes));
      state.isFull = !hasRoom;
      if (!hasRoom) this.count('full');
      this.takeEvents();
    }
  }

  private get peerEnd(): LinkedEnd {
    return this.peer as LinkedEnd;
  }

  private note(message: Buffer, state: SessionLink): void {
    const decoded = decodeRecordHeader([message]);
    check(decoded !== undefined, 'records are well formed');
    const { header, bytes } = decoded;
    this.sentMessages += 1;
    if (!header.isNumbered) return message.length > bytes ? this.noteDatagrams(state) : undefined;
    this.sentBytes += message.length - bytes;
    const newest = newestNumber(this.resumable);
    if (newest > this.newest) this.newBytes += message.length - bytes;
    this.newest = newest;
    const isForLinks = header.placement !== undefined || header.piece !== undefined || header.isLast === true;
    if (isForLinks) this.placedRecords += 1;
    check(!isForLinks || this.resumable.mux.mayHaveLinks, 'placed records only where both ends know them');
  }

  /** Datagrams keep to a link: no other one overtakes it. */
  private noteDatagrams(state: SessionLink): void {
    this.count('records of datagrams');
    const { datagramLink: before, time } = this;
    this.datagramLink = { state, at: time.now };
    if (before === undefined || before.state === state) return;
    const mayChange =
      !this.resumable.links.includes(before.state) || !isUsable(before.state) || time.now - before.at >= PAUSE_MS;
    check(mayChange, 'datagrams go by another link only where theirs may carry no more, or after a pause');
    this.count('datagrams by another link');
  }

  protected override handleReceived(_id: number, association: DatagramCheck): void {
    this.count('datagrams');
    if (association.isReordered) this.count('datagrams out of order');
  }

  /** As SessionDriver: both ends go on without them. */
  private closeLeft(): void {
    if (this.side !== 'client') return;
    for (const carrier of this.carriers) if (this.carriers.length > 1 && carrier.state.hasLeft) this.close(carrier);
  }

  private close(carrier: Carrier): void {
    this.count('left');
    this.remove(carrier);
    this.resumable.detach(carrier.state, this.time.now);
    this.owner.handleDropped(this, carrier.link, true);
  }

  // ── what must hold ─────────────────────────────────────────────────────────────────────────────────────────────────

  private checkState(): void {
    const { resumable, settings } = this;
    if (resumable.mux.isOver) return;
    const mostKept = Math.max(settings.resume.retransmitBytes, settings.resume.minRetransmitBytes);
    const oneRecord = MAX_RECORD_BYTES + RECORD_OVERHEAD_BYTES * PINGS;
    check(resumable.retransmitBytes <= mostKept + oneRecord, 'what is kept is bounded');
    if (heldBytes(resumable) > 0) this.count('turns with records that wait');
    check(heldBytes(resumable) <= settings.resume.reorderBytes, 'what waits for other records is bounded');
    check(inside(resumable.mux).writer.control.length <= settings.mux.maxControlFrames, 'control frames are bounded');
    check(resumable.links.length === this.carriers.length, 'the session knows its links');
    const fresh = resumable.links.filter(({ isFresh }) => isFresh).length;
    check(
      fresh <= settings.mux.maxLinks && resumable.links.length <= 2 * settings.mux.maxLinks,
      'no more links than it may have',
    );
    check(this.memory.used >= 0, 'memory is counted');
    this.checkInFlight();
  }

  /** All that the peer does not have is on its way on a link that does not stall, or waits for one. */
  private checkInFlight(): void {
    const copies = new Map<RecordPart, number>();
    for (const link of this.resumable.links) {
      if (link.isStalled) this.count('turns with a late link');
      let bytes = 0;
      for (const { part, length } of inFlightOn(link)) {
        bytes += length;
        if (part !== undefined && !link.isStalled) copies.set(part, (copies.get(part) ?? 0) + 1);
      }
      check(link.congestion.inFlightBytes === bytes, `bytes in flight: ${link.congestion.inFlightBytes}, not ${bytes}`);
    }
    for (const part of unackedParts(this.resumable)) {
      const count = copies.get(part) ?? 0;
      check(part.copies === count, `links that have a record in flight: ${part.copies}, not ${count}`);
      check(count > 0 || part.isQueued, 'what is not on its way waits to be sent again');
    }
  }
}

/** Its queue being full is no reason: that lasts for a moment. */
function isUsable({ isUnwanted, isPeerLeaving, isStalled, isSpent }: SessionLink): boolean {
  return !isUnwanted && !isPeerLeaving && !isStalled && !isSpent;
}
