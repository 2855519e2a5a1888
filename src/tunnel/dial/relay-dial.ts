/** One dial where several relays lead to the exit: races attempts at them, each by its routes. */
import { AbortableWait } from '../../async/abortable.ts';
import type { Clock, Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { isForAllRelays } from '../routes/obstacles.ts';
import type { FailedRelay } from '../routes/relay-faults.ts';
import { RelayRace, type RelayRaceOptions } from '../routes/relay-race.ts';

interface RelayAttempt {
  /** Cancels it. */
  readonly signal: AbortSignal;
  /** To be called when TCP is connected, by any route. */
  readonly onConnected: () => void;
  /** Asked when it takes long: whether it is the one that is reported. */
  readonly mayReport: () => boolean;
}

export interface RelayDialOptions<W> extends RelayRaceOptions {
  readonly clock: Clock;
  /** A link with a complete handshake. @throws WstunError */
  attempt(relay: string, attempt: RelayAttempt): Promise<W>;
}

export interface WonRelay<W> {
  readonly relay: string;
  readonly won: W;
  /** Those that had failed before. */
  readonly failed: readonly FailedRelay[];
}

/** What every relay has met. */
export class RelaysFailed extends Error {
  constructor(readonly failed: readonly FailedRelay[]) {
    super('no relay has made a link');
  }
}

export class RelayDial<W extends { readonly link: MessageLink }> {
  private readonly race: RelayRace;
  private readonly outcome: AbortableWait<WonRelay<W>>;
  /** Of the attempts under way, in the order in which they began. */
  private readonly running = new Map<string, AbortController>();
  private readonly failed: FailedRelay[] = [];
  private next: Timer | undefined;

  constructor(
    private readonly options: RelayDialOptions<W>,
    private readonly signal: AbortSignal,
  ) {
    this.race = new RelayRace(options);
    this.outcome = new AbortableWait({ clock: options.clock, signal, onSettled: () => this.end() });
  }

  /** Rejects with RelaysFailed, or with the WstunError `dial-cancelled`. */
  run(): Promise<WonRelay<W>> {
    if (!this.outcome.isOver) this.startDue();
    return this.outcome.promise;
  }

  private end(): void {
    this.options.clock.clearTimeout(this.next);
    for (const abort of this.running.values()) abort.abort();
  }

  private startDue(): void {
    const { clock } = this.options;
    clock.clearTimeout(this.next);
    while (!this.outcome.isOver) {
      const relay = this.race.poll(clock.now());
      if (relay === undefined) break;
      void this.start(relay);
    }
    if (this.outcome.isOver) return;
    for (const relay of this.race.takeOverdue(clock.now())) this.giveUp(relay);
    if (this.race.isLost) return this.outcome.reject(new RelaysFailed(this.failed));
    const at = this.race.nextTimeout();
    if (at < Number.POSITIVE_INFINITY)
      this.next = clock.setTimeout(() => this.startDue(), Math.max(0, at - clock.now()));
  }

  private async start(relay: string): Promise<void> {
    const { attempt, clock } = this.options;
    const abort = new AbortController();
    this.running.set(relay, abort);
    const onConnected = (): void => {
      if (!this.isRunning(relay)) return;
      this.race.handleConnected(relay, clock.now());
      this.startDue();
    };
    const mayReport = (): boolean => this.running.keys().next().value === relay;
    const signal = AbortSignal.any([this.signal, abort.signal]);
    try {
      const won = await attempt(relay, { signal, onConnected, mayReport });
      // Two may come in one turn, or one although its signal has fired.
      if (this.isRunning(relay)) this.outcome.resolve({ relay, won, failed: this.failed });
      else won.link.abort();
    } catch (cause) {
      this.handleFailed(relay, cause instanceof WstunError ? cause : new WstunError('internal', String(cause)));
    }
  }

  private isRunning(relay: string): boolean {
    return !this.outcome.isOver && this.running.has(relay);
  }

  private handleFailed(relay: string, error: WstunError): void {
    if (!this.isRunning(relay)) return;
    this.running.delete(relay);
    this.failed.push({ relay, error });
    this.race.handleFailed(relay, isForAllRelays(error));
    this.startDue();
  }

  /** Nothing has come of it for long, while others have said something. */
  private giveUp(relay: string): void {
    const abort = this.running.get(relay);
    this.running.delete(relay);
    this.failed.push({ relay, error: new WstunError('link-slow') });
    abort?.abort();
  }
}
