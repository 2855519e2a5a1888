/**
 * Two pure, honest sessions with a slow wire between them, each step of which the test decides: what the owners do,
 * when records are taken, how much of them arrives, when time passes. After every step the rig checks what must hold of
 * honest ends.
 */
import { DEFAULT_MUX_CONFIG, type MuxConfig } from '../../../src/mux/config.ts';
import type { MuxEvent } from '../../../src/mux/events.ts';
import { MuxSession } from '../../../src/mux/session.ts';
import { UNSPECIFIED } from '../../../src/protocol/services.ts';
import { DatagramCheck } from './datagram-check.ts';
import type { LoggedFrame } from './frame-log.ts';
import { kept, NOTHING } from './mux-internals.ts';
import { TARGET } from './mux-peer.ts';
import { naiveDecode } from './naive-decoder.ts';
import { wire } from './wire.ts';

/** About a stream that is known already. */
type StreamEvent = Exclude<Extract<MuxEvent, { stream: number }>, { type: 'offer' }>;

export type Side = 'client' | 'exit';

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`broken: ${what}`);
}

/** What a direction of a stream carries from an offset on: strays, losses and doublings show. */
function bytesOf(side: Side, id: number, start: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  const shift = id * 37 + (side === 'client' ? 0 : 101);
  for (let i = 0, at = start; i < length; i++, at++) bytes[i] = shift + at * 11 + (at >> 8);
  return bytes;
}

interface RigStream {
  readonly id: number;
  /** An association: it has datagrams, and no bytes. */
  readonly association: DatagramCheck | undefined;
  phase: 'opening' | 'offered' | 'open' | 'over';
  written: number;
  received: number;
  unconsumed: number;
  finished: boolean;
  finishSent: boolean;
  peerFinished: boolean;
  /** Ended by a reset or a failed open, from either side. */
  failed: boolean;
}

export class RigEnd {
  readonly session: MuxSession;
  readonly streams = new Map<number, RigStream>();
  /** Sent and not yet arrived. */
  flight = Buffer.alloc(0);
  /** By stream: what the peer has been granted in frames, less what it has used in frames. */
  readonly granted = new Map<number, number>();
  peer!: RigEnd;
  private greeted = false;

  constructor(
    readonly side: Side,
    readonly config: MuxConfig,
    protected readonly clock: { now: number },
    session?: MuxSession,
  ) {
    this.session = session ?? new MuxSession(config, 0);
    if (session === undefined) this.session.handleAttached(0);
  }

  /** A live stream by a number that may be anything. */
  pick(index: number, wanted: (stream: RigStream) => boolean): RigStream | undefined {
    const candidates = [...this.streams.values()].filter(wanted);
    return candidates[index % Math.max(1, candidates.length)];
  }

  // ── what the owner may do ──────────────────────────────────────────────────────────────────────────────────────────

  open(): void {
    const opened = this.session.open(TARGET, this.clock.now);
    if ('stream' in opened) this.add(opened.stream, 'opening');
    else if ('refused' in opened)
      check(['dial-busy', 'shutting-down'].includes(opened.refused), `refused: ${opened.refused}`);
  }

  /** An association whose datagrams have addresses, if the peer has said by now that it has any. */
  associate(): void {
    const opened = this.session.open(UNSPECIFIED, this.clock.now, { service: 'udp' });
    if ('stream' in opened) this.add(opened.stream, 'opening', true);
  }

  /** A datagram of so many bytes, at least 4, by an association that may be opening. */
  sendDatagram(index: number, length: number): void {
    const stream = this.pick(
      index,
      ({ association, phase, finished }) =>
        association !== undefined && phase !== 'offered' && phase !== 'over' && !finished,
    );
    if (stream?.association === undefined) return;
    const content = stream.association.next(this.side, length);
    this.session.sendDatagram(stream.id, content, TARGET, this.clock.now);
  }

  accept(index: number): void {
    const stream = this.pick(index, ({ phase }) => phase === 'offered');
    if (!stream) return;
    check(this.session.accept(stream.id, this.clock.now), 'an offer that stands can be accepted');
    stream.phase = 'open';
  }

  refuse(index: number): void {
    const stream = this.pick(index, ({ phase }) => phase === 'offered');
    if (!stream) return;
    this.session.refuse(stream.id, 'dial-refused');
    this.fail(stream);
  }

  write(index: number, length: number): void {
    const stream = this.pick(
      index,
      ({ phase, finished, association }) => phase === 'open' && !finished && association === undefined,
    );
    if (!stream) return;
    const bytes = bytesOf(this.side, stream.id, stream.written, length);
    stream.written += length;
    this.session.write(stream.id, bytes);
  }

  finish(index: number): void {
    const stream = this.pick(index, ({ phase, finished }) => phase === 'open' && !finished);
    if (!stream) return;
    stream.finished = true;
    this.session.finish(stream.id);
  }

  reset(index: number): void {
    const stream = this.pick(index, ({ phase }) => phase !== 'over');
    if (!stream) return;
    this.session.reset(stream.id, 'target-reset', this.clock.now);
    stream.unconsumed = 0;
    this.fail(stream);
  }

  consume(index: number, bytes: number): void {
    const stream = this.pick(index, ({ unconsumed }) => unconsumed > 0);
    if (!stream) return;
    const used = Math.min(bytes, stream.unconsumed);
    stream.unconsumed -= used;
    this.session.consume(stream.id, used, this.clock.now);
  }

  // ── the wire ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes at most so many records; false if there was none. */
  poll(records: number, maxBytes?: number): boolean {
    for (let i = 0; i < records; i++) {
      const pieces = this.session.pollRecord(this.clock.now, maxBytes);
      this.takeEvents();
      if (!pieces) return i > 0;
      const record = Buffer.concat(pieces);
      check(record.length <= (maxBytes ?? 65_519), 'a record is not too long');
      this.account(record);
      this.flight = Buffer.concat([this.flight, record]);
    }
    return true;
  }

  get isInFlight(): boolean {
    return this.flight.length > 0;
  }

  /** So many bytes arrive, in pieces of at most so many. */
  arrive(bytes: number, piece: number): void {
    const arriving = this.flight.subarray(0, bytes);
    this.flight = this.flight.subarray(bytes);
    for (let at = 0; at < arriving.length; at += piece) {
      this.peer.session.handleRecord(arriving.subarray(at, at + piece), this.clock.now);
    }
    this.peer.takeEvents();
  }

  /** Every record holds whole frames; nobody sends more than it was granted. */
  protected account(record: Buffer): void {
    const decoded = naiveDecode(this.greeted ? Buffer.concat([wire.hello(), record]) : record);
    check(decoded.fault === undefined, 'records are well formed');
    const frames = decoded.frames.slice(this.greeted ? 1 : 0);
    this.greeted = true;
    for (const frame of frames) this.accountFrame(frame);
  }

  private accountFrame([type, id, amount]: LoggedFrame): void {
    const stream = Number(id);
    if (type === 'open' || type === 'opened' || type === 'credit') {
      check(type !== 'credit' || Number(amount) >= 256, 'credit comes in useful portions');
      this.granted.set(stream, (this.granted.get(stream) ?? 0) + Number(amount));
    } else if (type === 'data') {
      check(Number(amount) > 0 && Number(amount) <= this.config.maxDataBytes, 'DATA has a useful size');
      const left = (this.peer.granted.get(stream) ?? 0) - Number(amount);
      check(left >= 0, 'nobody sends more than its credit');
      this.peer.granted.set(stream, left);
    }
  }

  // ── what comes of it ───────────────────────────────────────────────────────────────────────────────────────────────

  takeEvents(): void {
    for (let event = this.session.pollEvent(); event; event = this.session.pollEvent()) this.handle(event);
    const { committed, streams, unread } = kept(this.session);
    const { sessionWindowBytes, minWindowBytes } = this.config;
    check(committed <= sessionWindowBytes + minWindowBytes * (streams + unread), 'receive memory is bounded');
  }

  private handle(event: MuxEvent): void {
    if (event.type === 'ended') throw new Error(`broken: honest ends never end a session: ${event.fault}`);
    if (!('stream' in event)) return;
    if (event.type === 'offer') return this.add(event.stream, 'offered', event.request.service === 'udp');
    const stream = this.streams.get(event.stream);
    check(stream !== undefined && stream.phase !== 'over', `${event.type} for a stream that is over`);
    this.handleOf(stream, event);
  }

  private handleOf(stream: RigStream, event: StreamEvent): void {
    switch (event.type) {
      case 'opened':
        stream.phase = 'open';
        return;
      case 'data':
        return this.receive(stream, event.bytes);
      case 'datagram':
        return this.receiveDatagram(stream, event.content);
      case 'finish':
        check(stream.received === this.writtenByPeer(stream.id), 'a clean end comes when all has come');
        stream.peerFinished = true;
        return this.endIfDone(stream);
      case 'finish-sent':
        check(stream.finished && !stream.finishSent, 'only what was finished is, and once');
        stream.finishSent = true;
        return this.endIfDone(stream);
      case 'writable':
        return;
      case 'reset':
        check(
          stream.received === this.peer.streams.get(stream.id)?.written,
          'a reset comes when all before it has come',
        );
        return this.fail(stream);
      case 'open-failed':
      case 'cancelled':
        return this.fail(stream);
    }
  }

  private receive(stream: RigStream, bytes: Uint8Array): void {
    check(!stream.peerFinished, 'no data behind a clean end');
    const expected = bytesOf(this.peer.side, stream.id, stream.received, bytes.length);
    check(expected.equals(bytes), 'received bytes are a prefix of sent');
    stream.received += bytes.length;
    stream.unconsumed += bytes.length;
  }

  private receiveDatagram({ association, id }: RigStream, content: Uint8Array): void {
    check(association !== undefined, 'datagrams are of associations');
    association.receive(this.peer.side, content);
    this.handleReceived(id, association);
  }

  /** For what else must hold. */
  protected handleReceived(_id: number, association: DatagramCheck): void {
    check(!association.isReordered, 'one link does not reorder datagrams');
  }

  private writtenByPeer(id: number): number | undefined {
    const stream = this.peer.streams.get(id);
    return stream?.finished ? stream.written : undefined;
  }

  private add(id: number, phase: 'opening' | 'offered', isAssociation = false): void {
    const association = isAssociation ? new DatagramCheck(id) : undefined;
    const start = { written: 0, received: 0, unconsumed: 0, finished: false, finishSent: false };
    const end = { peerFinished: false, failed: false };
    this.streams.set(id, { id, association, phase, ...start, ...end });
  }

  /** Both directions are complete: nothing more may come. */
  private endIfDone(stream: RigStream): void {
    if (!stream.finishSent || !stream.peerFinished) return;
    stream.phase = 'over';
    this.session.release(stream.id);
  }

  private fail(stream: RigStream): void {
    stream.phase = 'over';
    stream.failed = true;
    this.session.release(stream.id);
  }
}

/** Two ends joined directly. */
export function plainRig(config: Partial<MuxConfig>): Rig {
  return new Rig(config, (side, full, clock) => new RigEnd(side, full, clock));
}

export class Rig<End extends RigEnd = RigEnd> {
  readonly clock: { now: number };
  readonly client: End;
  readonly exit: End;
  readonly ends: readonly End[];

  constructor(config: Partial<MuxConfig>, makeEnd: (side: Side, config: MuxConfig, clock: { now: number }) => End) {
    this.clock = { now: 0 };
    // However long a reader rests: no reset gives up the bytes before it.
    const patient = { ...DEFAULT_MUX_CONFIG, resetWaitMs: Number.MAX_SAFE_INTEGER, ...config };
    this.client = makeEnd('client', { ...patient, role: 'client' }, this.clock);
    this.exit = makeEnd('exit', { ...patient, role: 'exit' }, this.clock);
    this.client.peer = this.exit;
    this.exit.peer = this.client;
    this.ends = [this.client, this.exit];
  }

  pass(ms: number): void {
    this.clock.now += ms;
    for (const { session } of this.ends) session.handleTimeout(this.clock.now);
  }

  /** Everything that is on its way, or can be, arrives; readers read. */
  flow(): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const end of this.ends) {
        while (end.poll(1) || end.isInFlight) {
          moved = true;
          end.arrive(Number.POSITIVE_INFINITY, 100_000);
        }
        while (end.pick(0, ({ unconsumed }) => unconsumed > 0)) {
          moved = true;
          end.consume(0, Number.POSITIVE_INFINITY);
        }
      }
    }
  }

  /** All that was begun comes to its end, and nothing is left. */
  settle(): void {
    this.flow();
    while (this.exit.pick(0, ({ phase }) => phase === 'offered')) this.exit.accept(0);
    this.flow();
    for (const end of this.ends)
      while (end.pick(0, ({ phase, finished }) => phase === 'open' && !finished)) end.finish(0);
    this.flow();
    for (const end of this.ends) {
      for (const stream of end.streams.values()) this.checkEnd(end, stream);
      check(
        JSON.stringify(kept(end.session)) === JSON.stringify(NOTHING),
        `left: ${JSON.stringify(kept(end.session))}`,
      );
      check(end.session.isIdle, 'nothing is left to do');
    }
  }

  private checkEnd(end: RigEnd, stream: RigStream): void {
    check(stream.phase === 'over', `${end.side}'s stream ${stream.id} is stuck ${stream.phase}`);
    if (stream.failed) return;
    check(stream.peerFinished, 'what ended without a reset has ended cleanly');
    const sent = end.peer.streams.get(stream.id);
    check(sent?.written === stream.received, 'all that was written has come');
  }
}
