/** One offered stream, as its exit sees it: `release` counts once, and `signal` fires when the offer is cancelled. */
import type { WireFaultName } from '../../errors.ts';
import type { OfferedStream, Target, TunnelStream } from './stream.ts';

type OfferAnswers = Pick<OfferedStream, 'accept' | 'refuse' | 'release'>;

export class Offer implements OfferedStream {
  private readonly abort = new AbortController();
  private released = false;

  constructor(
    readonly target: Target,
    readonly peer: string,
    private readonly answers: OfferAnswers,
  ) {}

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  /** The peer has given the stream up, or the session has ended. */
  cancel(): void {
    this.abort.abort();
  }

  accept(): TunnelStream {
    return this.answers.accept();
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
