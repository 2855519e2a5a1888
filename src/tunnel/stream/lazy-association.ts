/**
 * A UDP association that is opened when there is a datagram to send, and again when there is another one after its end:
 * a session may be lost, and an exit closes what is idle.
 */
import { type Clock, systemClock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { Association, AssociationHandler, AssociationOpener } from './services.ts';
import type { Target } from './stream.ts';

/** From one opening to the next, ms: an exit that refuses a target is not asked for every datagram. */
const REOPEN_MS = 1_000;
/** After an attempt that asked no one, ms. */
const RETRY_MS = 100;

/** Nothing of it may throw. */
export interface LazyAssociationOwner {
  /** As of AssociationHandler. */
  handleDatagram(bytes: Uint8Array, from: Target | undefined): void;
  /** The association was not opened, or has ended, other than by being idle. */
  handleFailed(error: WstunError): void;
}

export class LazyAssociation {
  private association: Association | undefined;
  private nextOpenAt = Number.NEGATIVE_INFINITY;
  private closed = false;

  /** `target`: as of `openAssociation`. */
  constructor(
    private readonly opener: AssociationOpener,
    private readonly target: Target | undefined,
    private readonly owner: LazyAssociationOwner,
    private readonly clock: Clock = systemClock,
  ) {}

  /** As of Association; a datagram is dropped while none can be opened. */
  send(bytes: Uint8Array, to?: Target): void {
    this.association ??= this.open();
    this.association?.send(bytes, to);
  }

  /** Idempotent. Nothing more is received or opened. */
  close(): void {
    this.closed = true;
    this.association?.close();
    this.association = undefined;
  }

  private open(): Association | undefined {
    const now = this.clock.now();
    if (this.closed || now < this.nextOpenAt) return undefined;
    let association: Association | undefined;
    const handler: AssociationHandler = {
      handleDatagram: (bytes, from) => {
        if (!this.closed) this.owner.handleDatagram(bytes, from);
      },
      handleEnd: (error) => {
        if (this.association === association) this.association = undefined;
        if (error !== undefined && !this.closed) this.owner.handleFailed(error);
      },
    };
    try {
      association = this.opener.openAssociation(this.target, handler);
      this.nextOpenAt = now + REOPEN_MS;
      return association;
    } catch (error) {
      this.nextOpenAt = now + RETRY_MS;
      this.owner.handleFailed(error instanceof WstunError ? error : new WstunError('internal', '', { cause: error }));
      return undefined;
    }
  }
}
