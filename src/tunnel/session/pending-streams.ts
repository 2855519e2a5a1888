/** The streams of one session that are not open yet: wanted by this end, or offered by the peer. */
import { AbortableWait } from '../../async/abortable.ts';
import { type WireFaultName, WstunError } from '../../errors.ts';
import type { Opened } from '../../mux/events.ts';
import { LazyMap } from '../../mux/lazy-collections.ts';
import type { MuxSession } from '../../mux/session.ts';
import { MuxStream } from '../stream/mux-stream.ts';
import { Offer } from '../stream/offer.ts';
import type { StreamAcceptor, Target, TunnelStream } from '../stream/stream.ts';
import type { LinkSupervisor } from './link-supervisor.ts';
import { OpenQueue } from './open-queue.ts';
import { OpenStreams, type StreamsOwner } from './open-streams.ts';

/** An exit that neither opens nor refuses: its dial and look-up limits add up to 15 s; the rest is for a slow path. */
const OPEN_ANSWER_MS = 20_000;
/** How long a new stream waits for a link, or a sign of life on it: as long as a connection for a session. */
const OPEN_LINK_MS = 10_000;

interface PendingOpen {
  readonly id: number;
  readonly target: Target;
  readonly since: number;
  readonly wait: AbortableWait<TunnelStream>;
  /** The link was lost meanwhile. */
  interrupted: boolean;
}

export class PendingStreams {
  /** Those that have become open. */
  readonly streams: OpenStreams;
  private readonly opens = new LazyMap<number, PendingOpen>();
  private readonly offers = new LazyMap<number, Offer>();
  /** Only an end that opens streams has one. */
  private queue: OpenQueue | undefined;

  constructor(
    private readonly mux: MuxSession,
    private readonly link: LinkSupervisor,
    private readonly owner: StreamsOwner,
  ) {
    this.streams = new OpenStreams(mux, owner);
  }

  // ── opened by this end ─────────────────────────────────────────────────────────────────────────────────────────────

  /** As `StreamOpener.open`, on this session. */
  async open(target: Target, signal: AbortSignal): Promise<TunnelStream> {
    if (signal.aborted) throw new WstunError('dial-cancelled');
    this.queue ??= new OpenQueue((wanted) => this.tryOpen(wanted), this.owner.clock);
    const opened = this.queue.open(target, signal);
    // Without a wait the answer is awaited in the same turn.
    const id = typeof opened === 'number' ? opened : await opened;
    return this.awaitAnswer(id, target, signal);
  }

  handleOpened(id: number): void {
    const pending = this.opens.get(id);
    if (pending === undefined) return;
    this.queue?.noteAnswered(pending.target);
    pending.wait.resolve(this.streams.add(id, pending.target));
  }

  handleOpenFailed(id: number, fault: WireFaultName): void {
    this.opens.get(id)?.wait.reject(new WstunError(fault));
  }

  /** The link was lost or replaced. */
  handleLinkChanged(): void {
    for (const pending of this.opens.values()) pending.interrupted = true;
  }

  /** Gives up all streams that have no answer yet. */
  cancelOpens(fault: WireFaultName): void {
    for (const { id, target, wait } of [...this.opens.values()]) this.cancelOpen(id, target, wait, fault);
  }

  private tryOpen(target: Target): Opened {
    const opened = this.mux.open(target, this.owner.clock.now());
    if ('refused' in opened && opened.refused === 'out-of-ids') this.owner.handleOutOfIds();
    this.owner.scheduleFlush();
    return opened;
  }

  private awaitAnswer(id: number, target: Target, signal: AbortSignal): Promise<TunnelStream> {
    const { clock } = this.owner;
    const wait = new AbortableWait<TunnelStream>({
      clock,
      signal,
      limitMs: OPEN_LINK_MS,
      onExpired: () => this.checkOpen(pending),
      onAbort: (aborted) => this.cancelOpen(id, target, aborted, 'dial-cancelled'),
      onSettled: () => this.opens.delete(id),
    });
    const pending: PendingOpen = { id, target, since: clock.now(), wait, interrupted: false };
    if (!wait.isOver) this.opens.set(id, pending);
    return wait.promise;
  }

  private checkOpen(pending: PendingOpen): void {
    const now = this.owner.clock.now();
    const fault = this.faultOfOpen(pending, now);
    if (fault !== undefined) return this.cancelOpen(pending.id, pending.target, pending.wait, fault);
    pending.wait.setLimit(this.nextCheck(pending, now) - now);
  }

  private cancelOpen(id: number, target: Target, wait: AbortableWait<TunnelStream>, fault: WireFaultName): void {
    this.mux.reset(id, 'dial-cancelled', this.owner.clock.now());
    this.queue?.noteGivenUp(target);
    this.owner.scheduleFlush();
    wait.reject(new WstunError(fault));
  }

  /** Why to give up a stream without an answer. The exit answers within 15 s while the link is alive. */
  private faultOfOpen({ since, interrupted }: PendingOpen, now: number): WireFaultName | undefined {
    const isFine = this.link.isFine(now);
    const silentMs = now - Math.max(since, this.link.receivedAt);
    if (!isFine && silentMs >= OPEN_LINK_MS) return 'not-connected';
    if (now - since < OPEN_ANSWER_MS) return undefined;
    if (!isFine) return 'not-connected';
    return interrupted ? 'link-lost' : 'dial-timed-out';
  }

  /** Where something was received since, the silence of the link is counted from then on. */
  private nextCheck({ since }: PendingOpen, now: number): number {
    const silentAt = Math.max(since, this.link.receivedAt) + OPEN_LINK_MS;
    return Math.min(silentAt > now ? silentAt : since + OPEN_ANSWER_MS, since + OPEN_ANSWER_MS);
  }

  // ── offered by the peer ────────────────────────────────────────────────────────────────────────────────────────────

  /** @param peer the name of the access entry at the other end */
  handleOffer(id: number, target: Target, peer: string, acceptor: StreamAcceptor): void {
    const offer = new Offer('tcp', target, peer, {
      accept: () => this.acceptOffer(id, target),
      acceptAssociation: () => {
        throw new WstunError('internal', 'not yet');
      },
      acceptListener: () => {
        throw new WstunError('internal', 'not yet');
      },
      refuse: (fault) => {
        this.mux.refuse(id, fault);
        this.owner.scheduleFlush();
      },
      release: () => {
        this.offers.delete(id);
        this.mux.release(id);
        this.owner.scheduleFlush();
      },
    });
    this.offers.set(id, offer);
    acceptor.handleOffer(offer);
  }

  /** The peer has given the stream up, or the session has ended. */
  cancelOffer(id: number): void {
    this.offers.get(id)?.cancel();
  }

  private acceptOffer(id: number, target: Target): TunnelStream {
    if (!this.mux.accept(id, this.owner.clock.now())) {
      const cancelled = new MuxStream(this.streams, id, target);
      cancelled.destroy();
      return cancelled;
    }
    this.owner.scheduleFlush();
    return this.streams.add(id, target);
  }

  /** The session is over: what waits to be opened is told. */
  end(fault: WireFaultName): void {
    this.queue?.close(new WstunError(fault));
  }
}
