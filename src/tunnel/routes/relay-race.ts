/**
 * When the attempts of one dial start where several relays lead to the exit: one for each relay, as RFC 8305 §5 has it
 * for addresses. Pure: time is passed in. The next relay starts when the one before has failed, or when its time is
 * over, which is short: a relay that was stopped, or whose machine is gone, still accepts TCP, or says nothing at all.
 */
import { ATTEMPT_DELAY_MS } from '../../net/connection-race.ts';

/** As many times what a relay takes usually, before the next one starts. */
const USUAL_TIMES = 2;
/** At least so long where the relay has carried for this process, ms: one that has restarted is slow for a moment. */
const PROVEN_PATIENCE_MS = 400;
/** Never longer, ms: others can carry, too. */
const LONGEST_PATIENCE_MS = 700;
/** From TCP to a sealed link: TLS, the carrier's request and the handshake are four round trips, and some work. */
const ROUND_TRIPS = 5;
/** One that alone is still without an outcome is given up after as many times what it takes usually, if longer. */
const USUAL_TIMES_ALONE = 4;

/** What is known of a relay. */
export interface UsualTime {
  /** From the start of an attempt to a sealed link, ms. */
  readonly usualMs: number;
  /** It has carried for this process, in this network. */
  readonly isProven: boolean;
}

export interface RelayRaceOptions {
  /** At least one, each once, the first to try first. */
  readonly relays: readonly string[];
  /** Undefined where nothing is known. */
  usualTimeOf(relay: string): UsualTime | undefined;
  /**
   * When some have failed and none is left to start, the others are given up after so long, ms: what failed is worth
   * another attempt by then.
   */
  readonly aloneMs: number;
  /** The first one is waited for at least so long, ms: none of the others may have what is asked for. Default: 0. */
  readonly firstPatienceMs?: number;
}

interface Running {
  readonly relay: string;
  readonly since: number;
  /** How long TCP took, ms; undefined while it is not connected. */
  connectMs: number | undefined;
}

/**
 * Calling order: `poll` at the start, after each other call, and at `nextTimeout`, until it returns nothing; what it
 * returns must be started at once. Then `takeOverdue`: those are to be aborted, and count as failed. The first link
 * wins, which ends the race.
 */
export class RelayRace {
  private readonly waiting: string[];
  private running: readonly Running[] = [];
  private nextAt = Number.NEGATIVE_INFINITY;
  private hasStarted = false;
  private hasFailed = false;
  private isFinal = false;

  constructor(private readonly options: RelayRaceOptions) {
    this.waiting = [...options.relays];
  }

  poll(now: number): string | undefined {
    if (now < this.nextAt || this.isFinal) return undefined;
    const relay = this.waiting.shift();
    if (relay === undefined) return undefined;
    this.nextAt = now + this.patienceFor(relay);
    this.hasStarted = true;
    this.running = [...this.running, { relay, since: now, connectMs: undefined }];
    return relay;
  }

  /** TCP is connected, to the relay or through a proxy: a long path is no reason to start another attempt. */
  handleConnected(relay: string, now: number): void {
    const attempt = this.running.find((one) => one.relay === relay);
    if (attempt === undefined || attempt.connectMs !== undefined) return;
    attempt.connectMs = now - attempt.since;
    if (attempt !== this.running.at(-1)) return;
    const expected = now + ROUND_TRIPS * attempt.connectMs;
    this.nextAt = Math.max(this.nextAt, Math.min(expected, attempt.since + LONGEST_PATIENCE_MS));
  }

  /** @param isForAll no relay could be reached either */
  handleFailed(relay: string, isForAll: boolean): void {
    const attempt = this.running.find((one) => one.relay === relay);
    if (attempt === undefined) return;
    // The next one need not wait; a later one that is under way already is given its time.
    if (attempt === this.running.at(-1)) this.nextAt = Number.NEGATIVE_INFINITY;
    this.running = this.running.filter((one) => one !== attempt);
    this.hasFailed = true;
    this.isFinal ||= isForAll;
  }

  /** Those that are given up now. */
  takeOverdue(now: number): readonly string[] {
    const overdue = this.running.filter((one) => now >= this.givenUpAt(one)).map(({ relay }) => relay);
    this.running = this.running.filter(({ relay }) => !overdue.includes(relay));
    return overdue;
  }

  /** When `poll` gives the next relay, or `takeOverdue` some; Infinity if there is nothing to wait for. */
  nextTimeout(): number {
    if (this.isFinal) return Number.POSITIVE_INFINITY;
    if (this.waiting.length > 0) return this.nextAt;
    return Math.min(Number.POSITIVE_INFINITY, ...this.running.map((one) => this.givenUpAt(one)));
  }

  /** No attempt can win any more, or none needs to be waited for. */
  get isLost(): boolean {
    return this.isFinal || (this.running.length === 0 && this.waiting.length === 0);
  }

  private patienceFor(relay: string): number {
    const { usualTimeOf, firstPatienceMs = 0 } = this.options;
    const usual = usualTimeOf(relay);
    const least = usual?.isProven ? PROVEN_PATIENCE_MS : ATTEMPT_DELAY_MS;
    const patience = Math.min(Math.max(least, USUAL_TIMES * (usual?.usualMs ?? 0)), LONGEST_PATIENCE_MS);
    return this.hasStarted ? patience : Math.max(patience, firstPatienceMs);
  }

  /** Not while another one is to start, and not where all are without an outcome: then it is the network. */
  private givenUpAt({ relay, since, connectMs = 0 }: Running): number {
    if (!this.hasFailed || this.waiting.length > 0) return Number.POSITIVE_INFINITY;
    const usualMs = this.options.usualTimeOf(relay)?.usualMs ?? 0;
    return since + Math.max(this.options.aloneMs, 2 * ROUND_TRIPS * connectMs, USUAL_TIMES_ALONE * usualMs);
  }
}
