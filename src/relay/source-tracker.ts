/** The addresses of a relay's connections: their links and penalties, and how a new connection is to be treated. */
import type { Clock } from '../clock.ts';
import { type RateLimit, TokenBucket } from '../limits/token-bucket.ts';
import type { Logger } from '../observability/logger.ts';
import type { Treatment } from './pending-sockets.ts';
import type { SharedLoad } from './shared-load.ts';
import { SourcePenalties } from './source-limits.ts';

/**
 * Failures of a registered exit that are not counted: a client that gives up makes the exit's data link for it fail.
 */
const EXIT_FAILURES: RateLimit = { perSecond: 50, burst: 512 };

/** A source with links. */
interface LinkedSource {
  links: number;
  /** Of these, control links of exits. */
  controlLinks: number;
  /** The failures that are not counted; undefined without a control link. */
  exitFailures: TokenBucket | undefined;
}

export class SourceTracker {
  private readonly penalties = new SourcePenalties();
  private readonly linked = new Map<string, LinkedSource>();

  constructor(
    /** The name of an address's source; undefined if the address is exempt. */
    private readonly sourceOf: (address: string | undefined) => string | undefined,
    private readonly logger: Logger,
    private readonly clock: Clock,
    private readonly shared?: SharedLoad,
  ) {
    if (shared === undefined) return;
    shared.onFailures = (source, count) => {
      for (let i = 0; i < count && !this.fail(source); i++);
    };
    shared.onCleared = (source) => this.penalties.clear(source);
  }

  /** Of a source under a penalty few connections are served, slowly, and only valid tickets get an answer. */
  treatmentOf(address: string | undefined): Treatment {
    const source = this.sourceOf(address);
    if (source === undefined) return { source };
    const isExit = this.linked.get(source)?.exitFailures !== undefined;
    if (!this.penalties.isBlocked(source, this.clock.now())) return { source, isExit };
    return { source, isExit, mayBegin: (now) => this.penalties.mayServe(source, now) };
  }

  /** `wasDropped`: others waited. That is no fault of a source with links: it had too many at once, or a bad line. */
  noteFailure(source: string, wasDropped: boolean): void {
    const linked = this.linked.get(source);
    if (linked !== undefined && (wasDropped || linked.exitFailures?.acquire(this.clock.now()) === true)) return;
    this.shared?.noteFailure(source);
    this.fail(source);
  }

  /** True: a penalty begins. */
  private fail(source: string): boolean {
    const penaltyMs = this.penalties.fail(source, this.clock.now());
    if (penaltyMs === 0) return false;
    const text = 'this address opens unauthenticated connections too often; it must wait';
    this.logger.info({ source, penaltyMs }, text);
    return true;
  }

  /**
   * A request of a stranger on a connection of a proxy: it counts as a connection of its own. Returns whether its
   * address is under a penalty.
   */
  noteRequest(address: string | undefined): boolean {
    const source = this.sourceOf(address);
    if (source === undefined) return false;
    if (this.penalties.isBlocked(source, this.clock.now())) return true;
    this.noteFailure(source, false);
    return false;
  }

  /** Ends the penalties of an address: a ticket has proved that a known peer is there. */
  clearPenalties(address: string | undefined): void {
    const source = this.sourceOf(address);
    if (source !== undefined) this.clear(source);
  }

  private clear(source: string): void {
    this.penalties.clear(source);
    this.shared?.noteCleared(source);
  }

  /**
   * A link has opened. While a control link is open its address is not treated as a stranger's: the exit dials for each
   * of its clients. Returns what is to be called when the link ends; undefined if the address is exempt.
   */
  addLink(address: string | undefined, isControl: boolean): (() => void) | undefined {
    const source = this.sourceOf(address);
    if (source === undefined) return undefined;
    this.clear(source);
    const linked = this.linked.get(source) ?? { links: 0, controlLinks: 0, exitFailures: undefined };
    this.linked.set(source, linked);
    const controlLinks = isControl ? 1 : 0;
    linked.links += 1;
    linked.controlLinks += controlLinks;
    if (linked.controlLinks > 0) linked.exitFailures ??= new TokenBucket(EXIT_FAILURES, this.clock.now());
    return () => {
      linked.links -= 1;
      linked.controlLinks -= controlLinks;
      if (linked.controlLinks === 0) linked.exitFailures = undefined;
      if (linked.links === 0) this.linked.delete(source);
    };
  }
}
