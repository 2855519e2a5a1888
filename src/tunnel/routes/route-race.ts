/**
 * When the attempts of one dial start: one for each route, as RFC 8305 §5 has it for addresses. Pure: time is passed
 * in. An attempt that makes progress is given time, so that a slow path does not cost an attempt by each route; and no
 * carrier is tried on a path on which another one still waits for TCP, because it would wait for the same.
 */
import { ATTEMPT_DELAY_MS } from '../../net/connection-race.ts';
import type { Obstacle } from '../../transport/dial-obstacle.ts';
import { isForAll, isWorth } from './obstacles.ts';
import { isSamePath, keyOf, type Route } from './route.ts';

/** From TCP to a sealed link: TLS, the carrier's request and the handshake are four round trips, and some work. */
const ROUND_TRIPS = 5;
/** An attempt that has TCP is waited for so much longer, ms: at least as long as a busy machine takes for the rest. */
const LEAST_PROGRESS_MS = 1_000;
const LONGEST_PROGRESS_MS = 2_000;
/** For a route that has carried in this network, as many times what it takes usually. */
const USUAL_TIMES = 2;
/** At least so long where it has carried for this process, ms: a relay that has restarted is slow for a moment. */
const PROVEN_PATIENCE_MS = 2_000;
/** Never longer, ms: a machine that slept in the middle of an attempt measured hours. */
const LONGEST_PATIENCE_MS = 10_000;

/** What is known of the first route. */
export interface FirstRoute {
  /** From the start of an attempt to a sealed link, ms. */
  readonly usualMs: number;
  /** It has carried for this process, in this network. */
  readonly isProven: boolean;
}

export interface RouteRaceOptions {
  /** At least one, the first to try first. */
  readonly routes: readonly Route[];
  /** Undefined where nothing is known. */
  readonly first?: FirstRoute | undefined;
  /** What the routes met at the dial before, by their keys. */
  readonly before?: ReadonlyMap<string, Obstacle>;
}

interface Running {
  readonly route: Route;
  readonly since: number;
  isConnected: boolean;
}

/**
 * Calling order: `poll` at the start, after each other call, and at `nextTimeout`, until it returns nothing; what it
 * returns must be started at once. The first link wins, which ends the race.
 */
export class RouteRace {
  private readonly waiting: Route[];
  private readonly running: Running[] = [];
  private readonly met = new Map<string, Obstacle>();
  private nextAt = Number.NEGATIVE_INFINITY;
  private hasStarted = false;
  private isFinal = false;

  constructor(private readonly options: RouteRaceOptions) {
    this.waiting = [...options.routes];
  }

  poll(now: number): Route | undefined {
    if (now < this.nextAt || this.isFinal) return undefined;
    const route = this.waiting.find((one) => this.mayStart(one));
    if (route === undefined) return undefined;
    this.waiting.splice(this.waiting.indexOf(route), 1);
    this.running.push({ route, since: now, isConnected: false });
    this.nextAt = now + (this.hasStarted ? ATTEMPT_DELAY_MS : this.firstPatience());
    this.hasStarted = true;
    return route;
  }

  /** TCP is connected, to the relay or through a proxy. */
  handleConnected(route: Route, now: number): void {
    const attempt = this.running.find((one) => one.route === route);
    if (attempt === undefined) return;
    attempt.isConnected = true;
    const expected = ROUND_TRIPS * (now - attempt.since);
    const more = Math.min(Math.max(expected, LEAST_PROGRESS_MS), LONGEST_PROGRESS_MS);
    this.nextAt = Math.max(this.nextAt, now + more);
  }

  /** The next one need not wait, and some need no attempt. */
  handleFailed(route: Route, obstacle: Obstacle): void {
    const at = this.running.findIndex((one) => one.route === route);
    if (at < 0) return;
    this.running.splice(at, 1);
    this.met.set(keyOf(route), obstacle);
    this.isFinal ||= isForAll(obstacle);
    const wasRepeated = this.options.before?.get(keyOf(route)) === obstacle;
    const left = this.waiting.filter((other) => isWorth(other, route, obstacle, wasRepeated));
    this.waiting.splice(0, this.waiting.length, ...left);
    this.nextAt = Number.NEGATIVE_INFINITY;
  }

  /** When `poll` gives the next route; Infinity if there is none. */
  nextTimeout(): number {
    const canStart = !this.isFinal && this.waiting.some((route) => this.mayStart(route));
    return canStart ? this.nextAt : Number.POSITIVE_INFINITY;
  }

  /** No attempt can win any more, or none needs to be waited for. */
  get isLost(): boolean {
    return this.isFinal || (this.running.length === 0 && this.waiting.length === 0);
  }

  /** What the failed ones met, by their keys: for the dial after this one. */
  get obstacles(): ReadonlyMap<string, Obstacle> {
    return this.met;
  }

  private mayStart(route: Route): boolean {
    return !this.running.some((attempt) => !attempt.isConnected && isSamePath(attempt.route, route));
  }

  private firstPatience(): number {
    const { first } = this.options;
    if (first === undefined) return ATTEMPT_DELAY_MS;
    const least = first.isProven ? PROVEN_PATIENCE_MS : ATTEMPT_DELAY_MS;
    return Math.min(Math.max(least, USUAL_TIMES * first.usualMs), LONGEST_PATIENCE_MS);
  }
}
