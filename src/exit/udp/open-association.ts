/**
 * One association while it is open: what it counts, when something last moved, and how it ends. Knows no socket: flows
 * have those (open-flow.ts, connected-flow.ts).
 */
import type { Clock, Timer } from '../../clock.ts';
import type { WireFaultName, WstunError } from '../../errors.ts';
import type { Association, AssociationHandler } from '../../tunnel/stream/services.ts';
import type { OfferedStream, Target } from '../../tunnel/stream/stream.ts';
import type { TrafficShare } from '../traffic.ts';
import type { Occupant } from './places.ts';

/** Without a datagram in either direction, ms (RFC 4787 REQ-5): it outlives lost links and pauses of programs. */
const IDLE_MS = 120_000;

/** What moves its datagrams. Nothing of it throws. */
export interface Flow {
  handleDatagram(bytes: Uint8Array, to: Target | undefined): void;
  /** Resolves when nothing of it is left. */
  close(): Promise<void>;
}

interface OpenAssociationOptions {
  readonly clock: Clock;
  /** Undefined: it does not end because it is idle. Default: 120 s. */
  readonly idleMs?: number | undefined;
}

export class OpenAssociation implements Occupant {
  activeAt: number;
  /** Resolves once, with why it has ended; undefined: it was idle, or made room, or is not needed any more. */
  readonly over: Promise<string | undefined>;
  private readonly clock: Clock;
  private readonly idleMs: number | undefined;
  private association: Association | undefined;
  private share: TrafficShare | undefined;
  private timer: Timer | undefined;
  private outcome: { readonly fault?: WireFaultName | undefined } | undefined;
  private resolveOver: (why: string | undefined) => void = () => {};

  constructor({ clock, ...options }: OpenAssociationOptions) {
    this.clock = clock;
    this.idleMs = 'idleMs' in options ? options.idleMs : IDLE_MS;
    this.activeAt = clock.now();
    this.over = new Promise((resolve) => {
      this.resolveOver = resolve;
    });
  }

  get isOver(): boolean {
    return this.outcome !== undefined;
  }

  /** @param bound of a listener */
  accept(offer: OfferedStream, flow: Flow, share: TrafficShare, bound?: Target): void {
    this.share = share;
    this.activeAt = this.clock.now();
    const handler: AssociationHandler = {
      handleDatagram: (bytes, to) => flow.handleDatagram(bytes, to),
      handleEnd: (error) => this.handleEnd(error),
    };
    this.association = offer.acceptAssociation(handler, bound);
    if (this.outcome !== undefined) return this.association.close(this.outcome.fault);
    if (this.idleMs !== undefined) this.watch(this.idleMs);
  }

  /** Whether a datagram of so many bytes may go to a socket now; counts it if so. */
  maySend(bytes: number): boolean {
    if (this.isOver || this.share?.passes('toSocket', bytes) !== true) return false;
    this.activeAt = this.clock.now();
    return true;
  }

  /** One that has come from a socket. */
  deliver(bytes: Uint8Array, from?: Target): void {
    if (this.isOver || this.association === undefined || this.share?.passes('fromSocket', bytes.length) !== true)
      return;
    this.activeAt = this.clock.now();
    this.association.send(bytes, from);
  }

  /** Tells the other end. Idempotent. */
  end(fault?: WireFaultName): void {
    if (this.isOver) return;
    this.finish({ fault }, fault);
    this.association?.close(fault);
  }

  evict(): void {
    this.end();
  }

  private handleEnd(error: WstunError | undefined): void {
    if (!this.isOver) this.finish({}, error?.message);
  }

  private finish(outcome: NonNullable<typeof this.outcome>, why: string | undefined): void {
    this.outcome = outcome;
    this.clock.clearTimeout(this.timer);
    this.resolveOver(why);
  }

  private watch(idleMs: number): void {
    const left = this.activeAt + idleMs - this.clock.now();
    if (left <= 0) return this.end();
    this.timer = this.clock.setTimeout(() => this.watch(idleMs), left).unref();
  }
}
