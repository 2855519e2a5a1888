/** One offered stream, as its exit sees it: `release` counts once, and `signal` fires when the offer is cancelled. */
import type { WireFaultName } from '../../errors.ts';
import type { Association, AssociationHandler, ServedListener, Service } from './services.ts';
import type { OfferedStream, Target, TunnelStream } from './stream.ts';

type OfferAnswers = Omit<OfferedStream, 'service' | 'target' | 'peer' | 'signal' | 'isAway'> & {
  readonly isAway: () => boolean;
};

export class Offer implements OfferedStream {
  private readonly abort = new AbortController();
  private released = false;

  constructor(
    readonly service: Service,
    readonly target: Target,
    readonly peer: string,
    private readonly answers: OfferAnswers,
  ) {}

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  get isAway(): boolean {
    return this.answers.isAway();
  }

  /** The peer has given the stream up, or the session has ended. */
  cancel(): void {
    this.abort.abort();
  }

  accept(): TunnelStream {
    return this.answers.accept();
  }

  acceptAssociation(handler: AssociationHandler, bound?: Target): Association {
    return this.answers.acceptAssociation(handler, bound);
  }

  acceptListener(bound: Target): ServedListener {
    return this.answers.acceptListener(bound);
  }

  refuse(fault: WireFaultName): void {
    this.answers.refuse(fault);
  }

  release(): void {
    if (this.released) return;
    this.released = true;
    this.answers.release();
  }
}
