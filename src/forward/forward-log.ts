/**
 * What is logged of a forward, or of a port at the exit: each fault once a minute, as programs repeat what fails. It
 * never names a target.
 */
import { type Clock, systemClock } from '../clock.ts';
import type { FaultName, WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';

const SAY_EVERY_MS = 60_000;
/** They say nothing of the forward: the program has given up, or the client says itself that it has no session. */
const EXPECTED: ReadonlySet<FaultName> = new Set(['dial-cancelled', 'shutting-down']);

export class ForwardLog {
  private readonly saidAt = new Map<FaultName, number>();

  /** @param what is lost, in words: `a connection` */
  constructor(
    private readonly logger: Logger,
    private readonly what: string,
    private readonly clock: Clock = systemClock,
  ) {}

  /** @param forward where it listens */
  noteRefused({ fault, message }: WstunError, forward: string): void {
    const now = this.clock.now();
    const isSaid = now - (this.saidAt.get(fault) ?? Number.NEGATIVE_INFINITY) < SAY_EVERY_MS;
    if (isSaid || EXPECTED.has(fault)) return this.logger.debug({ forward, fault }, `${this.what} was not forwarded`);
    this.saidAt.set(fault, now);
    this.logger.warn({ forward, fault }, `${this.what} to ${forward} was not forwarded: ${message}`);
  }
}
