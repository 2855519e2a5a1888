/** How fast the page carries, from counts noted now and then. Pure, with time passed in (ms of a monotonic clock). */

/** What the line shows. */
const LINE_MS = 12_000;
/** More than the line needs at four a second, and no more however often `note` is called. */
const MAX_SAMPLES = 64;
/** A rate over less jumps too much to be read, and over more it lags behind. */
const RATE_MS = 3_000;
/** The same for the line, which need not be read. */
const LINE_RATE_MS = 1_000;
/** The line is at its top at this rate at least, bytes/s: what only keeps a link alive is no peak. */
const LEAST_TOP = 16_000;
/** Below this, bytes/s, a link is only kept alive. */
const LEAST_FLOW = 200;

interface Sample {
  readonly at: number;
  readonly up: number;
  readonly down: number;
}

type Way = 'up' | 'down';

/** Of the line: `x` from 0 (twelve seconds ago) to 1 (now), `y` from 0 (nothing) to 1 (the most in that time). */
interface Point {
  readonly x: number;
  readonly y: number;
}

export class Throughput {
  /** The oldest first. */
  private samples: readonly Sample[] = [];

  /** @param counts bytes since the page began */
  note(at: number, { up, down }: { readonly up: number; readonly down: number }): void {
    // The first point of the line needs a second before it.
    const recent = this.samples.filter((sample) => at - sample.at <= LINE_MS + LINE_RATE_MS);
    this.samples = [...recent.slice(1 - MAX_SAMPLES), { at, up, down }];
  }

  /** Bytes/s in the last three seconds. */
  rate(way: Way): number {
    return this.rateBefore(this.samples.length - 1, RATE_MS, [way]);
  }

  /** Both ways together. No points before there are two. */
  line(): readonly Point[] {
    const now = this.samples[this.samples.length - 1]?.at ?? 0;
    const rates = this.samples.map((_, i) => this.rateBefore(i, LINE_RATE_MS, ['up', 'down']));
    const top = Math.max(LEAST_TOP, ...rates);
    const points = this.samples.map(({ at }, i) => ({ x: 1 - (now - at) / LINE_MS, y: (rates[i] ?? 0) / top }));
    // Before the first sample nothing is known.
    return points.slice(1).filter(({ x }) => x >= 0);
  }

  private rateBefore(index: number, overMs: number, ways: readonly Way[]): number {
    const last = this.samples[index];
    let from = index - 1;
    while (from > 0 && (last?.at ?? 0) - (this.samples[from]?.at ?? 0) < overMs) from -= 1;
    const first = this.samples[from];
    if (first === undefined || last === undefined || last.at <= first.at) return 0;
    const bytes = ways.reduce((sum, way) => sum + last[way] - first[way], 0);
    return (bytes / (last.at - first.at)) * 1_000;
  }
}

interface Flow {
  /** The way of most bytes. */
  readonly way: Way;
  /** 0.5 (next to nothing) to 3 (1 Gbit/s and more): by the logarithm, because rates differ by thousands. */
  readonly speed: number;
}

/** How data seems to move along the drawing; undefined: it does not. @param up, down bytes/s */
export function flowOf(up: number, down: number): Flow | undefined {
  const sum = up + down;
  if (sum < LEAST_FLOW) return undefined;
  const speed = 0.5 * (1 + Math.log10(Math.max(1, sum / 1_250)));
  return { way: up > down ? 'up' : 'down', speed: Math.min(3, speed) };
}
