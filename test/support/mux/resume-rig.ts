/**
 * The rig of mux-rig.ts with links between the two sessions that are lost and replaced whenever the test says so: what
 * was on its way is gone then, but for as much of it as the test lets come.
 */
import type { MuxConfig } from '../../../src/mux/config.ts';
import { DEFAULT_RESUME_CONFIG, type ResumeConfig } from '../../../src/mux/links/resume-config.ts';
import { RetransmitMemory } from '../../../src/mux/links/retransmit-store.ts';
import { decodeRecordHeader, dropPrefix, type PieceRange } from '../../../src/protocol/record-header.ts';
import { Rig, RigEnd, type Side } from './mux-rig.ts';
import { OneLinkSession } from './one-link-session.ts';

const MIB = 1024 * 1024;

export class ResumingEnd extends RigEnd {
  readonly resumable: OneLinkSession;
  /** Sent on the present link and not yet arrived. */
  messages: Buffer[] = [];
  readonly budget: RetransmitMemory;
  /** Messages sent that say nothing but what has come. */
  bareAcknowledgements = 0;
  /** Of the newest numbered record that was sent: its acknowledgement may wait. */
  newestMayWait = false;
  /** Numbered records sent whose acknowledgement may wait. */
  mayWaitCount = 0;
  /** Of numbered records. */
  private newest = 0;
  private sentOnLink = 0;
  /** The start of a record that is sent in pieces. */
  private pieces: Buffer = Buffer.alloc(0);

  constructor(side: Side, config: MuxConfig, clock: { now: number }, resume: ResumeConfig) {
    const budget = new RetransmitMemory(64 * MIB);
    const resumable = new OneLinkSession(config, resume, budget, clock.now);
    super(side, config, clock, resumable.mux);
    this.resumable = resumable;
    this.budget = budget;
  }

  override get isInFlight(): boolean {
    return this.messages.length > 0;
  }

  override poll(records: number): boolean {
    for (let i = 0; i < records; i++) {
      const message = this.resumable.pollMessage(this.clock.now);
      this.takeEvents();
      if (message === undefined) return i > 0;
      const whole = Buffer.concat(message);
      this.note([whole]);
      this.messages.push(whole);
    }
    return true;
  }

  /** What is sent again was accounted for before. */
  private note(message: readonly Uint8Array[]): void {
    const decoded = decodeRecordHeader(message);
    if (decoded === undefined) throw new Error('broken: every record has a header');
    if (!decoded.header.isNumbered) {
      const hasFrames = message.reduce((sum, { length }) => sum + length, 0) > decoded.bytes;
      if (!hasFrames) this.bareAcknowledgements += 1;
      return;
    }
    this.newestMayWait = decoded.header.mayWait;
    if (decoded.header.mayWait) this.mayWaitCount += 1;
    const record = this.wholeRecord(decoded.header.piece, dropPrefix(message, decoded.bytes));
    if (record === undefined) return;
    this.sentOnLink += 1;
    if (this.sentOnLink <= this.newest) return;
    this.newest = this.sentOnLink;
    this.account(record);
  }

  /** A record that did not arrive by several links comes in pieces: undefined until its last one. */
  private wholeRecord(piece: PieceRange | undefined, bytes: readonly Uint8Array[]): Buffer | undefined {
    const body = Buffer.concat(bytes);
    if (piece === undefined) return body;
    this.pieces = piece.offset === 0 ? body : Buffer.concat([this.pieces, body]);
    return this.pieces.length < piece.total ? undefined : this.pieces;
  }

  /** So many messages arrive. */
  override arrive(messages: number): void {
    for (const message of this.messages.splice(0, messages)) {
      (this.peer as ResumingEnd).resumable.receive([message], this.clock.now);
    }
    this.peer.takeEvents();
  }

  /** The present link is gone, and what was on it. */
  lose(): void {
    this.messages = [];
    this.resumable.lose(this.clock.now);
    this.takeEvents();
  }

  attach(peerReceived: number, saidReceived: number): boolean {
    this.messages = [];
    this.sentOnLink = peerReceived;
    const fits = this.resumable.attach(peerReceived, saidReceived, this.clock.now) !== undefined;
    this.takeEvents();
    return fits;
  }
}

export class ResumeRig extends Rig<ResumingEnd> {
  constructor(config: Partial<MuxConfig> = {}, resume: Partial<ResumeConfig> = {}) {
    super(config, (side, full, clock) => new ResumingEnd(side, full, clock, { ...DEFAULT_RESUME_CONFIG, ...resume }));
    this.join();
  }

  get isJoined(): boolean {
    return this.ends.every(({ resumable }) => resumable.isAttached);
  }

  /** The link breaks: of what is on its way so many messages still arrive. */
  lose(upArrive = 0, downArrive = 0): void {
    if (!this.isJoined) return;
    this.client.arrive(upArrive);
    this.exit.arrive(downArrive);
    for (const end of this.ends) end.lose();
  }

  /**
   * A new link, as docs/protocol.md §10 has it. The old one may still carry something to the client between its request
   * and the answer: `meanwhile` messages.
   */
  join(meanwhile = 0): void {
    const { client, exit } = this;
    const clientSaid = client.resumable.received;
    const exitSaid = exit.resumable.received;
    const late = exit.messages.slice(0, meanwhile);
    exit.attach(clientSaid, exitSaid);
    for (const message of late) client.resumable.receive([message], this.clock.now);
    client.takeEvents();
    client.attach(exitSaid, clientSaid);
  }

  /** Acknowledgements wait for the clock; and a link is needed for anything to flow. */
  override flow(): void {
    if (!this.isJoined) this.join();
    for (let i = 0; i < 3; i++) {
      super.flow();
      this.pass(5);
    }
    super.flow();
  }

  override pass(ms: number): void {
    this.clock.now += ms;
    for (const { resumable } of this.ends) resumable.handleTimeout(this.clock.now);
  }
}
