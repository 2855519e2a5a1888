/** The choice between a preferred connector and a fallback: a race at each dial, and what earlier dials tell. */
import { AbortableWait, sleep } from '../../async/abortable.ts';
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { FAULTS, type FaultName, WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { Backoff } from '../reconnect/backoff.ts';
import { SomeRelaysFault } from '../routes/relay-faults.ts';
import type { Connector, LinkPurpose, SessionPlace } from './connectors.ts';

/** RFC 8305 §5: how long after the preferred connector the fallback begins. At once where that failed last time. */
const FALLBACK_DELAY_MS = 1_000;
/**
 * The preferred connector begins so long after the fallback where its last link carried nothing. It is the shorter
 * path, so its handshake would win each race, and the session would wait for an answer that does not come. A phone that
 * works has a link within this time; one that is offline does not say so.
 */
const SILENT_PREFERRED_DELAY_MS = 5_000;

/** Only said to a peer that the relay knows, by either connector (docs/protocol.md §11, §2.2). */
const RELAY_ANSWERS: ReadonlySet<FaultName> = new Set(['exit-absent', 'keys-rotated', 'relay-full', 'too-often']);

/** A link, and what a caller needs to know of the connector that made it. */
export interface ChosenLink<L extends MessageLink> {
  readonly link: L;
  /** The preferred connector, where the link is not by it, or cheaper carriers than that of the link. */
  readonly better?: ConnectorChoice<L> | undefined;
  /** To be called where something came through the link. */
  readonly noteCarried?: (() => void) | undefined;
  /** To be called where nothing came through the link: its connector only seems to work. */
  readonly noteSilent?: (() => void) | undefined;
  /** To be called when a link that carried something is lost. @param hasLasted not at once */
  readonly noteLost?: ((hasLasted: boolean) => void) | undefined;
  /** To be called where the exit accepts no session on the link: that of another relay may. */
  readonly noteRejected?: (() => void) | undefined;
}

export interface ConnectorChoice<L extends MessageLink> {
  /** @throws WstunError */
  dial(signal: AbortSignal, purpose?: LinkPurpose, from?: SessionPlace): Promise<ChosenLink<L>>;
}

/** Where there is no choice. */
export function onlyConnector<L extends MessageLink>(connector: Connector<L>): ConnectorChoice<L> {
  return {
    dial: async (signal, purpose, from) => {
      const link = await connector.dial(signal, purpose, from);
      return { link, ...uselessNotes(connector, link) };
    },
  };
}

function uselessNotes<L extends MessageLink>(connector: Connector<L>, link: L) {
  const note = (): void => connector.noteUseless?.(link);
  return { noteSilent: note, noteRejected: note };
}

/**
 * Uses the preferred connector while it works, else the fallback. While the fallback is not available, a dial fails as
 * the preferred one does: the caller tries again no later than without a fallback, and learns of a refusal.
 *
 * A connector is judged by the links that it makes, so its links must show whether a network can be used: their
 * handshake is complete.
 */
export class PreferredConnector<L extends MessageLink> implements ConnectorChoice<L> {
  private preferredWorks = true;
  /** Nothing came through the latest link by the preferred connector. */
  private preferredWasSilent = false;
  /** The latest link is, or was, by the fallback. */
  private fallbackCarried = false;
  /** What the preferred choice says of its links. */
  private readonly chosen = new WeakMap<L, ChosenLink<L>>();

  constructor(
    private readonly preferred: ConnectorChoice<L>,
    private readonly fallback: Connector<L>,
    private readonly logger: Logger,
    private readonly clock: Clock = systemClock,
  ) {}

  async dial(signal: AbortSignal, purpose?: LinkPurpose, from?: SessionPlace): Promise<ChosenLink<L>> {
    const { link, byFallback } = await new LinkRace(
      {
        preferred: (stop) => this.dialPreferred(stop, purpose, from),
        fallback: (stop) => this.fallback.dial(stop, purpose, from),
        fallbackDelayMs: this.preferredWorks ? FALLBACK_DELAY_MS : 0,
        preferredDelayMs: this.preferredWasSilent && this.fallback.isAvailable ? SILENT_PREFERRED_DELAY_MS : 0,
        isFinal: (error) => this.isFinal(error),
      },
      signal,
      this.clock,
    ).run();
    return byFallback ? this.fallbackLink(link) : this.preferredLink(link);
  }

  private preferredLink(link: L): ChosenLink<L> {
    this.fallbackCarried = false;
    this.preferredWasSilent = false;
    const chosen = this.chosen.get(link);
    const noteSilent = (): void => {
      this.preferredWorks = false;
      this.preferredWasSilent = true;
      chosen?.noteSilent?.();
    };
    return { ...chosen, link, noteSilent };
  }

  private fallbackLink(link: L): ChosenLink<L> {
    this.fallbackCarried = true;
    // Also where the preferred one was only slower: it began earlier, and lost.
    this.preferredWorks = false;
    const better: ConnectorChoice<L> = {
      dial: async (signal, _purpose, from) => this.preferredLink(await this.dialPreferred(signal, undefined, from)),
    };
    return { link, better, ...uselessNotes(this.fallback, link) };
  }

  private async dialPreferred(signal: AbortSignal, purpose?: LinkPurpose, from?: SessionPlace): Promise<L> {
    try {
      const chosen = await this.preferred.dial(signal, purpose, from);
      this.chosen.set(chosen.link, chosen);
      this.preferredWorks = true;
      return chosen.link;
    } catch (error) {
      if (!signal.aborted) this.noteFailure(error);
      throw error;
    }
  }

  private noteFailure(error: unknown): void {
    this.preferredWorks = isRelaysAnswer(error);
    if (this.preferredWorks) return;
    const reason = error instanceof WstunError ? error.code : String(error);
    this.logger.debug({ reason }, 'the direct connection failed');
  }

  /** Whether the fallback cannot make the link for which the preferred connector failed with that. */
  private isFinal(error: unknown): boolean {
    if (isRelaysAnswer(error)) return true;
    if (this.fallback.isAvailable) return false;
    // The relay has accepted us through the fallback: this answer is of the network (a portal, a filter).
    return !(this.fallbackCarried && isAccessFault(error));
  }
}

interface Contestants<L extends MessageLink> {
  preferred(signal: AbortSignal): Promise<L>;
  fallback(signal: AbortSignal): Promise<L>;
  /** From the beginning of the race, at the latest, ms. */
  readonly fallbackDelayMs: number;
  readonly preferredDelayMs: number;
  /** Whether the fallback cannot make the link for which the preferred connector failed with that. */
  isFinal(error: unknown): boolean;
}

interface Winner<L extends MessageLink> {
  readonly link: L;
  readonly byFallback: boolean;
}

/**
 * One dial. Each connector begins when the other has failed, or its delay is over; the preferred one is tried again and
 * again meanwhile. The first link wins. The race fails when both have failed, or with the answer of a relay, which both
 * connectors would hear.
 */
class LinkRace<L extends MessageLink> {
  private readonly over = new AbortController();
  private readonly signal: AbortSignal;
  private readonly outcome: AbortableWait<Winner<L>>;
  private fallbackDelay: Timer | undefined;
  private preferredDelay: Timer | undefined;
  private preferredBegun = false;
  private fallbackBegun = false;
  private preferredFailed = false;
  private fallbackError: unknown;

  constructor(
    private readonly contestants: Contestants<L>,
    signal: AbortSignal,
    private readonly clock: Clock,
  ) {
    this.signal = AbortSignal.any([signal, this.over.signal]);
    this.outcome = new AbortableWait({ clock, signal, onSettled: () => this.end() });
  }

  run(): Promise<Winner<L>> {
    const { clock, contestants, outcome } = this;
    if (outcome.isOver) return outcome.promise;
    this.fallbackDelay = clock.setTimeout(() => this.beginFallback(), contestants.fallbackDelayMs);
    if (contestants.preferredDelayMs > 0)
      this.preferredDelay = clock.setTimeout(() => this.beginPreferred(), contestants.preferredDelayMs);
    else this.beginPreferred();
    return outcome.promise;
  }

  private end(): void {
    this.clock.clearTimeout(this.fallbackDelay);
    this.clock.clearTimeout(this.preferredDelay);
    this.over.abort();
  }

  private beginPreferred(): void {
    if (this.preferredBegun || this.signal.aborted) return;
    this.preferredBegun = true;
    this.clock.clearTimeout(this.preferredDelay);
    void this.keepTryingPreferred();
  }

  /** A network that lets nothing out now may do so in a minute. */
  private async keepTryingPreferred(): Promise<void> {
    const { signal, clock } = this;
    const backoff = new Backoff();
    while (!signal.aborted) {
      const waitMs = backoff.next(clock.random());
      if (waitMs > 0) await sleep(clock, waitMs, signal);
      if (signal.aborted) return;
      await this.contestants.preferred(signal).then(
        (link) => this.handleLink(link, false),
        (error: unknown) => this.handlePreferredFailed(error),
      );
    }
  }

  private beginFallback(): void {
    if (this.fallbackBegun || this.signal.aborted) return;
    this.fallbackBegun = true;
    this.clock.clearTimeout(this.fallbackDelay);
    this.contestants.fallback(this.signal).then(
      (link) => this.handleLink(link, true),
      (error: unknown) => this.handleFallbackFailed(error),
    );
  }

  private handleLink(link: L, byFallback: boolean): void {
    if (this.signal.aborted) return link.abort();
    this.outcome.resolve({ link, byFallback });
  }

  private handlePreferredFailed(error: unknown): void {
    if (this.contestants.isFinal(error)) return this.outcome.reject(error);
    this.preferredFailed = true;
    if (this.fallbackError !== undefined) return this.outcome.reject(this.fallbackError);
    this.beginFallback();
  }

  private handleFallbackFailed(error: unknown): void {
    if (this.preferredFailed || isRelaysAnswer(error)) return this.outcome.reject(error);
    this.fallbackError = error;
    this.beginPreferred();
  }
}

function isAccessFault(error: unknown): boolean {
  return error instanceof WstunError && FAULTS[error.fault].class === 'access';
}

function isRelaysAnswer(error: unknown): boolean {
  return error instanceof WstunError && RELAY_ANSWERS.has(error.fault) && !(error instanceof SomeRelaysFault);
}
