/** Streams of a session (docs/protocol.md §7): used ids, live ones, and ended ones that hold memory or a slot. Pure. */

import { MAX_STREAM_ID } from '../protocol/frames.ts';
import type { OpenRequest } from '../protocol/services.ts';
import type { MuxConfig } from './config.ts';
import type { QueuedOfAll } from './datagram-queue.ts';
import type { LateResets } from './late-resets.ts';
import { LazyMap, LazySet } from './lazy-collections.ts';
import { LATE_FRAMES_OF_STREAM, type PeerBudgets } from './peer-budgets.ts';
import type { ReceiveWindows } from './receive-windows.ts';
import { StreamState } from './stream-state.ts';

export class StreamTable {
  private readonly isClient: boolean;
  private readonly live = new LazyMap<number, StreamState>();
  /** Streams that ended before their owner consumed all data: they hold memory, so they keep their slot. */
  private readonly unread = new LazyMap<number, StreamState>();
  /** Offers whose slot is in use: the owner has not called `release`, or the stream is live. */
  private readonly unreleased = new LazySet<number>();
  private lastLocalId: number;
  lastPeerId = 0;
  /** Slots in use of the streams that we open. */
  localStreams = 0;
  private readonly datagrams: QueuedOfAll = { bytes: 0 };

  constructor(
    { role }: MuxConfig,
    private readonly windows: ReceiveWindows,
    private readonly lateResets: LateResets,
    private readonly budgets: PeerBudgets,
  ) {
    this.isClient = role === 'client';
    this.lastLocalId = this.isClient ? -1 : 0;
  }

  get size(): number {
    return this.live.size;
  }

  /** Slots in use of the streams that the peer opens. */
  get peerStreams(): number {
    return this.unreleased.size;
  }

  get(id: number): StreamState | undefined {
    return this.live.get(id);
  }

  /** A copy: streams may be closed meanwhile. */
  all(): StreamState[] {
    return [...this.live.values()];
  }

  get hasIds(): boolean {
    return this.lastLocalId + 2 <= MAX_STREAM_ID;
  }

  isLocal(id: number): boolean {
    return (id % 2 === 1) === this.isClient;
  }

  isUsed(id: number): boolean {
    return id <= (this.isLocal(id) ? this.lastLocalId : this.lastPeerId);
  }

  openLocal({ service, target }: Pick<OpenRequest, 'service' | 'target'>): StreamState {
    this.lastLocalId += 2;
    this.localStreams += 1;
    const stream = new StreamState(this.lastLocalId, service, target, 'opening', this.datagrams);
    this.live.set(stream.id, stream);
    return stream;
  }

  offer(id: number, { service, target }: OpenRequest, credit: number): void {
    const stream = new StreamState(id, service, target, 'offered', this.datagrams);
    stream.sendCredit = credit;
    this.live.set(id, stream);
    this.unreleased.add(id);
  }

  /** The owner has nothing left of an offered stream. */
  release(id: number): void {
    const stream = this.live.get(id) ?? this.unread.get(id);
    if (stream) stream.released = true;
    else this.unreleased.delete(id);
  }

  /** Returns the stream if new credit is due for it. */
  consume(id: number, bytes: number, now: number): StreamState | undefined {
    const stream = this.live.get(id) ?? this.unread.get(id);
    if (!stream) return undefined;
    this.windows.consume(stream, bytes, now);
    if (stream.phase === 'closed' && stream.held === 0) this.dropUnread(id);
    else if (this.windows.isCreditDue(stream)) return stream;
    return undefined;
  }

  /** Without the data that its owner has not consumed. */
  close(stream: StreamState): void {
    this.remove(stream);
    this.freeSlot(stream);
  }

  /** No more frames follow in either direction, but what the owner has not consumed is still memory of the session. */
  closeWithUnread(stream: StreamState): void {
    this.remove(stream);
    if (stream.held === 0) return this.freeSlot(stream);
    this.windows.revoke(stream);
    this.unread.set(stream.id, stream);
  }

  private remove(stream: StreamState): void {
    stream.phase = 'closed';
    stream.queue.clear();
    stream.datagrams?.clear();
    this.lateResets.delete(stream);
    this.live.delete(stream.id);
    this.budgets.allowLateFrames(LATE_FRAMES_OF_STREAM);
  }

  dropUnread(id: number): void {
    const stream = this.unread.get(id);
    if (!stream) return;
    this.unread.delete(id);
    this.freeSlot(stream);
  }

  dropAllUnread(): void {
    for (const id of [...this.unread.keys()]) this.dropUnread(id);
  }

  private freeSlot(stream: StreamState): void {
    this.windows.forget(stream);
    if (this.isLocal(stream.id)) this.localStreams -= 1;
    else if (stream.released) this.unreleased.delete(stream.id);
  }
}
