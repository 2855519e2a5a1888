/** Tells whether file descriptors run out: without one, most things fail silently (libuv closes what it accepts). */
import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';
import { descriptorLimit } from '../admin/descriptor-limit.ts';
import { FAULTS, WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';

/** Kept for new links and for files, so that streams alone cannot lock everybody out. */
const RESERVE = 64;
const RESERVE_SHARE = 1 / 8;
const WATCH_MS = 1_000;
/** A shortage may last for hours. */
const SAY_EVERY_MS = 60_000;

interface DescriptorGuardOptions {
  readonly logger: Logger;
  /** How many the process may have; undefined: not known. Default: what the kernel says. */
  readonly limit?: number | undefined;
  /** The lowest free descriptor; undefined: there is none. Default: opens one. */
  readonly lowestFree?: () => number | undefined;
}

export class DescriptorGuard {
  private readonly logger: Logger;
  private readonly limit: number | undefined;
  private readonly lowestFree: () => number | undefined;
  private timer: NodeJS.Timeout | undefined;
  private saidAt = Number.NEGATIVE_INFINITY;

  constructor(options: DescriptorGuardOptions) {
    this.logger = options.logger;
    this.limit = 'limit' in options ? options.limit : descriptorLimit();
    this.lowestFree = options.lowestFree ?? openOne;
  }

  /** At the start: warns where the limit is below what the process needs at full use. */
  warnIfLow(needed: number): void {
    if (this.limit === undefined || this.limit >= needed) return;
    const { fix } = FAULTS['out-of-descriptors'];
    this.logger.warn(
      { limit: this.limit, needed },
      `the limit of open files is low: it is ${this.limit}, and at full load this process needs ${needed}. ${fix}`,
    );
  }

  /**
   * True while only the reserve is left: new streams must be rejected. Asks the kernel at each call (two system calls,
   * 10 µs), because a burst of streams takes what is left within milliseconds. @param now of any monotonic clock, ms
   */
  isShort(now = performance.now()): boolean {
    const free = this.lowestFree();
    const isShort = free === undefined || free >= this.threshold;
    if (isShort) this.say(now);
    return isShort;
  }

  /** Checks once a second until `stop`, because most failures for lack of a descriptor are reported nowhere. */
  watch(): void {
    this.timer = setInterval(() => this.isShort(), WATCH_MS).unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private get threshold(): number {
    if (this.limit === undefined) return Number.POSITIVE_INFINITY;
    return this.limit - Math.min(RESERVE, Math.ceil(this.limit * RESERVE_SHARE));
  }

  private say(now: number): void {
    if (now - this.saidAt < SAY_EVERY_MS) return;
    this.saidAt = now;
    const fault = new WstunError('out-of-descriptors', this.limit === undefined ? '' : `its limit is ${this.limit}`);
    this.logger.warn({ code: fault.code, limit: this.limit }, fault.message);
  }
}

/** Until `stop`. @param needed at full use */
export function watchDescriptors(logger: Logger, needed: number): DescriptorGuard {
  const guard = new DescriptorGuard({ logger });
  guard.warnIfLow(needed);
  guard.watch();
  return guard;
}

/** POSIX hands out the lowest free one (open(2)). */
function openOne(): number | undefined {
  try {
    const descriptor = openSync(devNull, 'r');
    closeSync(descriptor);
    return descriptor;
  } catch {
    return undefined;
  }
}
