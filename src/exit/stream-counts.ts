/** What the streams of an exit came to so far. It outlives the keys, and with them the object that serves them. */
import { Histogram } from '../observability/histogram.ts';
import { Tally } from '../observability/tally.ts';

/** Of dials that have connected, and of others. */
export type DialTimes = Readonly<Record<'connected' | 'failed', Histogram>>;

export class StreamCounts {
  /** Streams, associations and listeners that are open now. */
  open = 0;
  opened = 0;
  /** By the names of faults. */
  readonly refused = new Tally();
  /** Of targets, without the look-up of their names. */
  readonly dialTimes: DialTimes | undefined;
  /** Streams that are being looked up or dialled now. */
  pending: () => number = () => 0;

  /** @param isTimed default: dials are not timed */
  constructor(isTimed = false) {
    this.dialTimes = isTimed ? { connected: new Histogram(), failed: new Histogram() } : undefined;
  }
}
