/** The TCP listeners of one session (docs/protocol.md §7.1): at a client, who takes what they accept. */
import { type WireFaultName, WstunError } from '../../errors.ts';
import { LazyMap } from '../../mux/lazy-collections.ts';
import type { MuxSession } from '../../mux/session.ts';
import type { ListenerHandler, TunnelListener } from '../stream/services.ts';
import type { OfferedStream, Target } from '../stream/stream.ts';
import type { StreamsOwner } from './open-streams.ts';

export class Listeners {
  private readonly live = new LazyMap<number, ListenerHandler>();

  constructor(
    private readonly mux: MuxSession,
    private readonly owner: StreamsOwner,
  ) {}

  /** The exit listens there. */
  add(id: number, bound: Target, handler: ListenerHandler): TunnelListener {
    this.live.set(id, handler);
    return { bound, close: () => this.close(id) };
  }

  private close(id: number): void {
    if (!this.live.delete(id)) return;
    this.mux.finish(id);
    this.owner.scheduleFlush();
  }

  /** Their owners ask for others. */
  endAll(fault: WireFaultName): void {
    for (const id of [...this.live.keys()]) {
      this.mux.finish(id);
      this.handleEnd(id, fault);
    }
    this.owner.scheduleFlush();
  }

  /** A connection that the listener has accepted. */
  handleConnection(listener: number, offer: OfferedStream): void {
    const handler = this.live.get(listener);
    if (handler !== undefined) return handler.handleConnection(offer);
    offer.refuse('dial-cancelled');
    offer.release();
  }

  /** The exit has closed it, or the session is over. */
  handleEnd(id: number, fault: WireFaultName): void {
    const handler = this.live.get(id);
    this.live.delete(id);
    handler?.handleEnd(new WstunError(fault));
  }
}
