/**
 * The links of a client's session beside the first one: dials them while they are wanted, and leaves them when they are
 * not (docs/protocol.md §10.2). It does not resume a session: reconnecting-session.ts does.
 */
import type { Clock, Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { MOST_BY_ITSELF } from '../../mux/links/link-demand.ts';
import type { Logger } from '../../observability/logger.ts';
import type { SessionRequest } from '../../protocol/session-request.ts';
import type { SessionDialer } from '../dial/session-dialer.ts';
import type { SessionDriver } from './session-driver.ts';

/** How many links a session has: as many as are of use, or always so many, 1 to 8. */
export type LinkCount = 'auto' | number;

/** Between two new links that nobody asked for by number, ms. */
const SPACING_MS = 2_000;
/** After a failed attempt, ms; doubles up to the second. */
const FIRST_WAIT_MS = 2_000;
const LONGEST_WAIT_MS = 60_000;

export interface ExtraLinksOptions {
  readonly dialer: SessionDialer;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly links: LinkCount;
  /** Called as late as possible. */
  request(): SessionRequest;
}

export class ExtraLinks {
  private wanted: number;
  private attempt: AbortController | undefined;
  private timer: Timer | undefined;
  private failures = 0;
  private stopped = false;

  constructor(
    private readonly driver: SessionDriver,
    private readonly options: ExtraLinksOptions,
  ) {
    this.wanted = options.links === 'auto' ? 1 : options.links;
  }

  /** The session has a link more or less, or can have several now. */
  handleChange(): void {
    if (this.stopped || this.attempt !== undefined || this.timer !== undefined) return;
    if (this.isShort) void this.dial();
    else if (this.driver.linkCount > this.wanted) this.driver.leaveNewestLink();
  }

  /** So many are of use. No effect where the number is given. */
  want(wanted: number): void {
    if (this.options.links !== 'auto') return;
    this.wanted = Math.max(1, Math.min(MOST_BY_ITSELF, wanted));
    this.handleChange();
  }

  /** The session has no link any more: the attempt to resume it takes the place of one to join it. */
  handleLost(): void {
    this.attempt?.abort();
  }

  /** The session is over. */
  stop(): void {
    this.stopped = true;
    this.options.clock.clearTimeout(this.timer);
    this.attempt?.abort();
  }

  private get isShort(): boolean {
    const { isAttached, canJoin, linkCount } = this.driver;
    return isAttached && canJoin && linkCount < this.wanted;
  }

  private async dial(): Promise<void> {
    const { dialer, logger } = this.options;
    const attempt = new AbortController();
    this.attempt = attempt;
    try {
      const { link, peerReceived } = await dialer.dial(() => this.options.request(), attempt.signal);
      if (attempt.signal.aborted || !this.driver.joinLink(link, peerReceived)) link.abort();
      else this.failures = 0;
    } catch (cause) {
      const fault = cause instanceof WstunError ? cause.fault : String(cause);
      logger.debug({ fault, links: this.driver.linkCount }, 'one more link could not be opened');
      if (!attempt.signal.aborted) this.failures += 1;
    }
    this.attempt = undefined;
    this.pause(this.failures > 0 ? this.backoffMs : this.spacingMs);
  }

  private get spacingMs(): number {
    return this.options.links === 'auto' ? SPACING_MS : 0;
  }

  private get backoffMs(): number {
    return Math.min(FIRST_WAIT_MS * 2 ** (this.failures - 1), LONGEST_WAIT_MS) * (0.5 + this.options.clock.random());
  }

  private pause(ms: number): void {
    if (this.stopped) return;
    this.timer = this.options.clock.setTimeout(() => {
      this.timer = undefined;
      this.handleChange();
    }, ms);
    this.timer.unref();
  }
}
