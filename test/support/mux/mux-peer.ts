/** One pure session against raw bytes: the test is its peer, honest or not, and its clock. */
import { DEFAULT_MUX_CONFIG, type MuxConfig } from '../../../src/mux/config.ts';
import type { MuxEvent } from '../../../src/mux/events.ts';
import { MuxSession } from '../../../src/mux/session.ts';
import type { Target } from '../../../src/protocol/target.ts';
import type { LoggedFrame } from './frame-log.ts';
import { naiveDecode } from './naive-decoder.ts';
import { wire } from './wire.ts';

export const TARGET: Target = { kind: 'name', name: 'example.org', port: 443 };

export class MuxPeer {
  readonly session: MuxSession;
  readonly events: MuxEvent[] = [];
  now = 0;
  private greeted = false;

  constructor(role: MuxConfig['role'], config: Partial<MuxConfig> = {}) {
    this.session = new MuxSession({ ...DEFAULT_MUX_CONFIG, ...config, role }, this.now);
    this.session.handleAttached(this.now);
  }

  /** With both HELLOs exchanged and the first ping read. */
  static joined(role: MuxConfig['role'], config: Partial<MuxConfig> = {}): MuxPeer {
    const peer = new MuxPeer(role, config);
    peer.feed(wire.hello());
    peer.frames();
    peer.events.length = 0;
    return peer;
  }

  feed(...frames: readonly Uint8Array[]): void {
    this.session.liveness.handleBytes(this.now);
    this.session.handleRecord(Buffer.concat(frames), this.now);
    this.takeEvents();
  }

  takeEvents(): readonly MuxEvent[] {
    for (let event = this.session.pollEvent(); event; event = this.session.pollEvent()) this.events.push(event);
    return this.events;
  }

  /** The next record, if it has something to say. */
  record(maxBytes?: number): Buffer | undefined {
    const pieces = this.session.pollRecord(this.now, maxBytes);
    this.takeEvents();
    return pieces && Buffer.concat(pieces);
  }

  /** The frames of each record to come; every record holds whole frames. */
  records(maxBytes?: number): LoggedFrame[][] {
    const records: LoggedFrame[][] = [];
    for (let record = this.record(maxBytes); record; record = this.record(maxBytes))
      records.push(this.framesOf(record));
    return records;
  }

  /** All frames to come. */
  frames(): LoggedFrame[] {
    return this.records().flat();
  }

  framesOf(record: Buffer): LoggedFrame[] {
    const hello = wire.hello();
    const decoded = naiveDecode(this.greeted ? Buffer.concat([hello, record]) : record);
    if (decoded.fault !== undefined) throw new Error(`the session sent a bad frame: ${record.toString('hex')}`);
    const frames = decoded.frames.slice(this.greeted ? 1 : 0);
    this.greeted = true;
    return [...frames];
  }

  /** Of an exit's session: a stream that the peer opened and the owner accepted. */
  accepted(id: number, credit = 0x10000): number {
    this.feed(wire.open(id, credit));
    if (!this.session.accept(id, this.now)) throw new Error(`no offer ${id}`);
    return id;
  }

  /** Of a client's session: a stream that the peer has accepted. */
  opened(credit = 0x10000): number {
    const opened = this.session.open(TARGET, this.now);
    if (!('stream' in opened)) throw new Error(`not opened: ${JSON.stringify(opened)}`);
    this.frames();
    this.feed(wire.opened(opened.stream, credit));
    return opened.stream;
  }

  eventsOf(stream: number): string[] {
    return this.events.filter((event) => 'stream' in event && event.stream === stream).map(({ type }) => type);
  }

  /** The fault with which the session ended, if it did. */
  get ended(): string | undefined {
    return this.events.find((event) => event.type === 'ended')?.fault;
  }
}
