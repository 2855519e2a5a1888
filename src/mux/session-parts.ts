/** What both directions of a session work on: `MuxSession` for the owner, `FrameReceiver` for the peer. Pure. */
import { checkMuxConfig, type MuxConfig } from './config.ts';
import { DatagramWriter } from './datagram-writer.ts';
import { EventQueue } from './events.ts';
import { LateResets } from './late-resets.ts';
import { Liveness } from './liveness.ts';
import { PeerBudgets } from './peer-budgets.ts';
import { RapidResets } from './rapid-resets.ts';
import { ReceiveWindows } from './receive-windows.ts';
import { RecordWriter } from './record-writer.ts';
import { Scheduler } from './scheduler.ts';
import type { StreamState } from './stream-state.ts';
import { StreamTable } from './stream-table.ts';

export class SessionParts {
  readonly config: MuxConfig;
  readonly events = new EventQueue();
  readonly scheduler = new Scheduler<StreamState>();
  readonly windows: ReceiveWindows;
  readonly budgets: PeerBudgets;
  readonly liveness: Liveness;
  readonly writer: RecordWriter;
  readonly lateResets: LateResets;
  /** Only an end that opens streams needs it. */
  private ownResets: RapidResets | undefined;
  /** Only a session with associations needs it. */
  private datagramWriter: DatagramWriter | undefined;
  readonly streams: StreamTable;

  constructor(config: MuxConfig, now: number) {
    this.config = checkMuxConfig(config);
    this.windows = new ReceiveWindows(config);
    this.budgets = new PeerBudgets(config, now);
    this.liveness = new Liveness(config, now);
    this.writer = new RecordWriter(config, this.scheduler, this.windows, this.liveness);
    this.lateResets = new LateResets(config.resetWaitMs);
    this.streams = new StreamTable(config, this.windows, this.lateResets, this.budgets);
  }

  get datagrams(): DatagramWriter {
    this.datagramWriter ??= new DatagramWriter(this.scheduler);
    return this.datagramWriter;
  }

  /** Datagrams wait. */
  get hasDatagrams(): boolean {
    return this.datagramWriter?.isEmpty === false;
  }

  get rapidResets(): RapidResets {
    this.ownResets ??= new RapidResets(this.config.ownRapidResetRate, 0);
    return this.ownResets;
  }
}
