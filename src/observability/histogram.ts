/** How long something took, counted by classes of lengths: an observation costs one search of a short list. Pure. */

/** Of waits for other machines, seconds. */
export const WAIT_BUCKETS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Of work of the processor, seconds. */
export const WORK_BUCKETS: readonly number[] = [
  0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1,
];

export class Histogram {
  private readonly counts: number[];
  private total = 0;

  /** @param bounds the upper end of each class, ascending; one more has all that is longer */
  constructor(private readonly bounds: readonly number[] = WAIT_BUCKETS) {
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  /** @param seconds 0 or more */
  observe(seconds: number): void {
    const at = this.bounds.findIndex((bound) => seconds <= bound);
    const index = at < 0 ? this.bounds.length : at;
    this.counts[index] = (this.counts[index] ?? 0) + 1;
    this.total += seconds;
  }

  /** Seconds, of all observations. */
  get sum(): number {
    return this.total;
  }

  get count(): number {
    return this.counts.reduce((sum, each) => sum + each, 0);
  }

  /** For each upper end, and at last for any length, how many were no longer. */
  get cumulative(): readonly (readonly [bound: number, count: number])[] {
    let sum = 0;
    return this.counts.map((count, index) => {
      sum += count;
      return [this.bounds[index] ?? Number.POSITIVE_INFINITY, sum] as const;
    });
  }
}
