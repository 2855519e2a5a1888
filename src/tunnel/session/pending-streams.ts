/** The streams of one session that are not open yet: wanted by this end, or offered by the peer. */
import { AbortableWait } from '../../async/abortable.ts';
import { type WireFaultName, WstunError } from '../../errors.ts';
import type { MuxEvent, Opened } from '../../mux/events.ts';
import { LazyMap, LazySet } from '../../mux/lazy-collections.ts';
import type { MuxSession } from '../../mux/session.ts';
import { hasBytes, type OpenRequest, type Service, UNSPECIFIED } from '../../protocol/services.ts';
import { MuxStream } from '../stream/mux-stream.ts';
import { Offer } from '../stream/offer.ts';
import type {
  Association,
  AssociationHandler,
  ListenerHandler,
  ServedListener,
  TunnelListener,
} from '../stream/services.ts';
import type { OfferedStream, StreamAcceptor, Target, TunnelStream } from '../stream/stream.ts';
import { Associations } from './associations.ts';
import type { LinkSupervisor } from './link-supervisor.ts';
import { Listeners } from './listeners.ts';
import { OpenQueue } from './open-queue.ts';
import { OpenStreams, type StreamsOwner, type Transferred } from './open-streams.ts';

/** An exit that neither opens nor refuses: its dial and look-up limits add up to 15 s; the rest is for a slow path. */
const OPEN_ANSWER_MS = 20_000;
/** How long a new stream waits for a link, or a sign of life on it: as long as a connection for a session. */
const OPEN_LINK_MS = 10_000;

interface PendingOpen {
  readonly id: number;
  readonly request: OpenRequest;
  readonly since: number;
  readonly wait: Pick<AbortableWait<unknown>, 'reject' | 'setLimit'>;
  readonly handleOpened: (bound: Target | undefined) => void;
  /** The link was lost meanwhile. */
  interrupted: boolean;
}

/** Makes of an opened stream what its opener uses, in the turn in which it was opened. */
type Create<T> = (id: number, bound: Target | undefined) => T;

const TCP: Pick<OpenRequest, 'service'> = { service: 'tcp' };

export class PendingStreams {
  /** Those that have become open. */
  readonly streams: OpenStreams;
  private readonly opens = new LazyMap<number, PendingOpen>();
  private readonly offers = new LazyMap<number, Offer>();
  /** Only an end that opens streams has one. */
  private queue: OpenQueue | undefined;
  private readonly resolvers = new LazySet<MuxStream>();
  private readonly associations: Associations;
  private readonly listeners: Listeners;

  constructor(
    private readonly mux: MuxSession,
    private readonly link: LinkSupervisor,
    private readonly owner: StreamsOwner,
  ) {
    this.streams = new OpenStreams(mux, owner);
    this.associations = new Associations(mux, owner);
    this.listeners = new Listeners(mux, owner);
  }

  /** Payload of all streams and datagrams so far. */
  transferred(): Transferred {
    const { sent, received } = this.streams.transferred();
    const datagrams = this.associations.transferred;
    return { sent: sent + datagrams.sent, received: received + datagrams.received };
  }

  get associationCount(): number {
    return this.associations.size;
  }

  // ── opened by this end ─────────────────────────────────────────────────────────────────────────────────────────────

  /** As `StreamOpener.open`, on this session. */
  async open(target: Target, signal: AbortSignal): Promise<TunnelStream> {
    if (signal.aborted) throw new WstunError('dial-cancelled');
    this.queue ??= new OpenQueue((wanted) => this.tryOpen({ ...TCP, target: wanted }), this.owner.clock);
    const opened = this.queue.open(target, signal);
    // Without a wait the answer is awaited in the same turn.
    const id = typeof opened === 'number' ? opened : await opened;
    return this.awaitAnswer(id, { ...TCP, target }, signal, () => this.streams.add(id, target));
  }

  /** As ResolverOpener, on this session. */
  async openResolver(signal: AbortSignal): Promise<TunnelStream> {
    const request: OpenRequest = { service: 'resolver', target: UNSPECIFIED };
    return this.openAtOnce(request, signal, (id) => {
      const stream = this.streams.add(id, UNSPECIFIED);
      this.resolvers.add(stream);
      stream.once('close', () => this.resolvers.delete(stream));
      return stream;
    });
  }

  /**
   * The session takes no more streams. What has no end of its own would keep it open, and a port at the exit closed to
   * the next one: their owners have them opened there.
   */
  endServices(): void {
    this.associations.endAll('shutting-down');
    this.listeners.endAll('shutting-down');
    for (const stream of this.resolvers) stream.destroy(new WstunError('shutting-down'));
  }

  /** As AssociationOpener, on this session. */
  get lacksUdp(): boolean {
    return this.mux.lacks('udp');
  }

  /** As AssociationOpener, on this session. */
  openAssociation(target: Target | undefined, handler: AssociationHandler): Association {
    return this.associations.open('udp', target, handler);
  }

  /** As ListenerOpener, on this session. */
  listenUdp(address: Target, handler: AssociationHandler): Association {
    return this.associations.open('udp-listener', address, handler);
  }

  /** As ListenerOpener, on this session. */
  async listenTcp(address: Target, handler: ListenerHandler, signal: AbortSignal): Promise<TunnelListener> {
    const request: OpenRequest = { service: 'tcp-listener', target: address };
    return this.openAtOnce(request, signal, (id, bound = address) => this.listeners.add(id, bound, handler));
  }

  private openAtOnce<T>(request: OpenRequest, signal: AbortSignal, create: Create<T>): Promise<T> {
    if (signal.aborted) throw new WstunError('dial-cancelled');
    const opened = this.tryOpen(request);
    if ('heldUntil' in opened) throw new WstunError('dial-busy');
    if ('refused' in opened) throw new WstunError(opened.refused);
    return this.awaitAnswer(opened.stream, request, signal, create);
  }

  handleOpened(id: number, bound: Target | undefined): void {
    const pending = this.opens.get(id);
    if (pending === undefined) return this.associations.handleOpened(id, bound);
    if (pending.request.service === 'tcp') this.queue?.noteAnswered(pending.request.target);
    pending.handleOpened(bound);
  }

  handleOpenFailed(id: number, fault: WireFaultName): void {
    const pending = this.opens.get(id);
    if (pending === undefined) this.associations.handleFailed(id, fault);
    else pending.wait.reject(new WstunError(fault));
  }

  /** The link was lost or replaced. */
  handleLinkChanged(): void {
    for (const pending of this.opens.values()) pending.interrupted = true;
  }

  /** Gives up all streams that have no answer yet. */
  cancelOpens(fault: WireFaultName): void {
    for (const pending of [...this.opens.values()]) this.cancelOpen(pending, fault);
  }

  private tryOpen({ target, ...more }: OpenRequest): Opened {
    const opened = this.mux.open(target, this.owner.clock.now(), more);
    if ('refused' in opened && opened.refused === 'out-of-ids') this.owner.handleOutOfIds();
    this.owner.scheduleFlush();
    return opened;
  }

  private awaitAnswer<T>(id: number, request: OpenRequest, signal: AbortSignal, create: Create<T>): Promise<T> {
    const { clock } = this.owner;
    const wait = new AbortableWait<T>({
      clock,
      signal,
      limitMs: OPEN_LINK_MS,
      onExpired: () => this.checkOpen(pending),
      onAbort: (aborted) => this.cancelOpen({ id, request, wait: aborted }, 'dial-cancelled'),
      onSettled: () => this.opens.delete(id),
    });
    const handleOpened = (bound: Target | undefined) => wait.resolve(create(id, bound));
    const pending: PendingOpen = { id, request, since: clock.now(), wait, handleOpened, interrupted: false };
    if (!wait.isOver) this.opens.set(id, pending);
    return wait.promise;
  }

  private checkOpen(pending: PendingOpen): void {
    const now = this.owner.clock.now();
    const fault = this.faultOfOpen(pending, now);
    if (fault !== undefined) return this.cancelOpen(pending, fault);
    pending.wait.setLimit(this.nextCheck(pending, now) - now);
  }

  private cancelOpen({ id, request, wait }: Pick<PendingOpen, 'id' | 'request' | 'wait'>, fault: WireFaultName): void {
    this.mux.reset(id, 'dial-cancelled', this.owner.clock.now());
    if (request.service === 'tcp') this.queue?.noteGivenUp(request.target);
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

  /**
   * @param peer the name of the access entry at the other end
   * @param acceptor of an exit; a client takes only what its listeners have accepted
   */
  handleOffer(id: number, request: OpenRequest, peer: string, acceptor: StreamAcceptor | undefined): void {
    const { service, target, listener } = request;
    const offer = new Offer(service, target, peer, {
      ...this.answersOf(id, service, target),
      isAway: () => !this.owner.isAttached,
      refuse: (fault) => {
        this.associations.dropEarly(id);
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
    if (acceptor !== undefined) acceptor.handleOffer(offer);
    else this.listeners.handleConnection(listener ?? 0, offer);
  }

  private answersOf(
    id: number,
    service: Service,
    target: Target,
  ): Pick<OfferedStream, 'accept' | 'acceptAssociation' | 'acceptListener'> {
    return {
      accept: () => {
        if (!hasBytes(service)) throw new WstunError('internal', `${service} has no bytes`);
        return this.acceptOffer(id, target);
      },
      acceptAssociation: (handler, bound) => this.acceptAssociation(id, handler, bound),
      acceptListener: (bound) => this.acceptListener(id, bound),
    };
  }

  private acceptAssociation(id: number, handler: AssociationHandler, bound: Target | undefined): Association {
    if (!this.mux.accept(id, this.owner.clock.now(), bound)) return { send: () => {}, close: () => {} };
    this.owner.scheduleFlush();
    return this.associations.serve(id, handler);
  }

  private acceptListener(id: number, bound: Target): ServedListener {
    const isGone = !this.mux.accept(id, this.owner.clock.now(), bound);
    this.owner.scheduleFlush();
    return {
      open: async (remote, signal) => {
        if (isGone) throw new WstunError('dial-cancelled');
        const request: OpenRequest = { service: 'accepted', target: remote, listener: id };
        return this.openAtOnce(request, signal, (stream) => this.streams.add(stream, remote));
      },
      close: (fault) => {
        this.mux.reset(id, fault, this.owner.clock.now());
        this.owner.scheduleFlush();
      },
    };
  }

  /** The peer has given the stream up, or the session has ended. */
  cancelOffer(id: number): void {
    this.associations.dropEarly(id);
    this.offers.get(id)?.cancel();
  }

  // ── events of the session ──────────────────────────────────────────────────────────────────────────────────────────

  handleDatagram({ stream, content, address }: Extract<MuxEvent, { type: 'datagram' }>): void {
    this.associations.handleDatagram(stream, content, address);
  }

  handleFinish(event: Extract<MuxEvent, { type: 'finish' }>): void {
    const { stream } = event;
    if (this.mux.hasStreamBytes(stream)) return this.streams.handleEvent(event);
    this.associations.handleFinish(stream);
    this.listeners.handleEnd(stream, 'listen-not-allowed');
    this.cancelOffer(stream);
  }

  handleReset(event: Extract<MuxEvent, { type: 'reset' }>): void {
    const { stream, fault } = event;
    this.streams.handleEvent(event);
    this.associations.handleFailed(stream, fault);
    this.listeners.handleEnd(stream, fault);
    this.cancelOffer(stream);
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
