/**
 * The associations of one session (docs/protocol.md §7.1), those of listeners among them: passes on what they send, and
 * what the session receives for them. It knows no sockets and no targets.
 */
import { type WireFaultName, WstunError } from '../../errors.ts';
import { LazyMap } from '../../mux/lazy-collections.ts';
import type { MuxSession } from '../../mux/session.ts';
import { UNSPECIFIED } from '../../protocol/services.ts';
import type { Association, AssociationHandler } from '../stream/services.ts';
import type { Target } from '../stream/stream.ts';
import type { StreamsOwner, Transferred } from './open-streams.ts';

/** Datagrams that are kept while an offered association is being decided on: a resolver's first queries. */
const MAX_EARLY = 8;
/** Their bytes. */
const MAX_EARLY_BYTES = 16 * 1024;

interface Received {
  readonly content: Uint8Array;
  readonly address: Target | undefined;
}

class MuxAssociation implements Association {
  private isClosed = false;

  constructor(
    readonly id: number,
    readonly handler: AssociationHandler,
    private readonly owner: Associations,
  ) {}

  send(bytes: Uint8Array, to?: Target): void {
    if (!this.isClosed) this.owner.send(this.id, bytes, to);
  }

  close(fault?: WireFaultName): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.owner.close(this.id, fault);
  }

  handleEnd(error: WstunError | undefined): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.handler.handleEnd(error);
  }
}

export class Associations {
  private readonly live = new LazyMap<number, MuxAssociation>();
  /** What came for offers that have no answer yet. */
  private readonly early = new LazyMap<number, readonly Received[]>();
  private sent = 0;
  private received = 0;

  constructor(
    private readonly mux: MuxSession,
    private readonly owner: StreamsOwner,
  ) {}

  get size(): number {
    return this.live.size;
  }

  /** Contents of datagrams so far, bytes; of what was given to the session, not of what was sent. */
  get transferred(): Transferred {
    return { sent: this.sent, received: this.received };
  }

  /** @throws WstunError as AssociationOpener */
  open(service: 'udp' | 'udp-listener', target: Target = UNSPECIFIED, handler: AssociationHandler): Association {
    const opened = this.mux.open(target, this.owner.clock.now(), { service });
    this.owner.scheduleFlush();
    if ('heldUntil' in opened) throw new WstunError('dial-busy');
    if ('stream' in opened) return this.add(opened.stream, handler);
    if (opened.refused === 'out-of-ids') this.owner.handleOutOfIds();
    throw new WstunError(opened.refused);
  }

  /** Of an offer that was accepted. What came before is handled when the caller has the association. */
  serve(id: number, handler: AssociationHandler): Association {
    const association = this.add(id, handler);
    const early = this.early.get(id) ?? [];
    this.early.delete(id);
    queueMicrotask(() => {
      for (const { content, address } of early)
        if (this.live.get(id) === association) handler.handleDatagram(content, address);
    });
    return association;
  }

  private add(id: number, handler: AssociationHandler): MuxAssociation {
    const association = new MuxAssociation(id, handler, this);
    this.live.set(id, association);
    return association;
  }

  send(id: number, bytes: Uint8Array, to: Target | undefined): void {
    this.sent += bytes.length;
    this.mux.sendDatagram(id, bytes, to, this.owner.clock.now());
    this.owner.scheduleFlush();
  }

  /** Its last datagrams still go. */
  close(id: number, fault: WireFaultName | undefined): void {
    this.live.delete(id);
    if (fault !== undefined) this.mux.reset(id, fault, this.owner.clock.now());
    else if (this.mux.isOpening(id)) this.mux.reset(id, 'dial-cancelled', this.owner.clock.now());
    else this.mux.finish(id);
    this.owner.scheduleFlush();
  }

  /** Their owners open others. */
  endAll(fault: WireFaultName): void {
    for (const association of [...this.live.values()]) {
      this.close(association.id, undefined);
      association.handleEnd(new WstunError(fault));
    }
  }

  // ── events of the session ──────────────────────────────────────────────────────────────────────────────────────────

  handleOpened(id: number, bound: Target | undefined): void {
    this.live.get(id)?.handler.handleOpened?.(bound);
  }

  handleDatagram(id: number, content: Uint8Array, address: Target | undefined): void {
    this.received += content.length;
    const association = this.live.get(id);
    if (association !== undefined) association.handler.handleDatagram(content, address);
    else this.keepEarly(id, { content, address });
  }

  private keepEarly(id: number, datagram: Received): void {
    if (!this.mux.isOffered(id)) return;
    const early = this.early.get(id) ?? [];
    const bytes = early.reduce((sum, { content }) => sum + content.length, datagram.content.length);
    if (early.length < MAX_EARLY && bytes <= MAX_EARLY_BYTES) this.early.set(id, [...early, datagram]);
  }

  /** An offer that is not accepted. */
  dropEarly(id: number): void {
    this.early.delete(id);
  }

  /** The peer needs it no more. */
  handleFinish(id: number): void {
    const association = this.live.get(id);
    this.live.delete(id);
    this.mux.finish(id);
    this.owner.scheduleFlush();
    association?.handleEnd(undefined);
  }

  /** It was refused or reset, or the session is over. */
  handleFailed(id: number, fault: WireFaultName): void {
    this.early.delete(id);
    const association = this.live.get(id);
    this.live.delete(id);
    association?.handleEnd(new WstunError(fault));
  }
}
