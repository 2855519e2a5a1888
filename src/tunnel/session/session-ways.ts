/**
 * The ways that a session uses all at once (`--bond`): which there are, which of them fail, and which the next link is
 * to take. It dials nothing.
 */
import type { Clock } from '../../clock.ts';
import type { Way } from '../dial/session-dialer.ts';

/** A session has no more links, so it can use no more. */
const MOST_WAYS = 8;

/** After a failed attempt, ms, × 0.5 to 1.5; doubles up to the second. */
const FIRST_WAIT_MS = 2_000;
const LONGEST_WAIT_MS = 60_000;
/** A link that lasts so long, ms, makes up for what failed before. */
const LONG_LIFE_MS = 60_000;
/** Where another exit answers that it does not have the session: it will not have it soon. */
const ELSEWHERE_WAIT_MS = 600_000;

/** Names may lead elsewhere by then, ms. */
const LOOK_AGAIN_MS = 300_000;

interface Entry {
  readonly way: Way;
  failures: number;
  notBefore: number;
}

/** How many links, and attempts at one, each way has, by its name. */
export type LinksOnWays = ReadonlyMap<string, number>;

export class SessionWays {
  private entries: readonly Entry[] = [];
  private readonly usedSince = new Map<string, number>();
  private isLooking = false;
  /** Something has changed meanwhile. */
  private mustLookAgain = false;
  private lookAgainAt = Number.POSITIVE_INFINITY;

  /** @param onChange others were found */
  constructor(
    private readonly find: () => Promise<readonly Way[]>,
    private readonly clock: Clock,
    private readonly onChange: () => void,
  ) {}

  /** They were found once. */
  get areKnown(): boolean {
    return this.lookAgainAt < Number.POSITIVE_INFINITY || this.entries.length > 0;
  }

  /** There may be others now. */
  look(): void {
    this.mustLookAgain = true;
    if (!this.isLooking) void this.keepLooking();
  }

  /** What failed before may work now, and there may be others. */
  handleNetworkChanged(): void {
    this.entries = [];
    this.look();
  }

  /** One that has no link, and may be tried. */
  unused(links: LinksOnWays): Way | undefined {
    return this.open().find(({ way }) => !links.has(way.name))?.way;
  }

  /** The one with the fewest links, of those that may be tried. */
  leastUsed(links: LinksOnWays): Way | undefined {
    const linksOf = ({ way }: Entry): number => links.get(way.name) ?? 0;
    return this.open().sort((a, b) => linksOf(a) - linksOf(b))[0]?.way;
  }

  /**
   * These have a link. One that has none any more was lost, or was too slow beside others: it pauses, unless it lasted.
   * @param mayPause false where links are replaced all the time, because the network stops them
   */
  handleLinks(links: LinksOnWays, mayPause: boolean): void {
    const now = this.clock.now();
    for (const [name, since] of this.usedSince) {
      if (links.has(name)) continue;
      this.usedSince.delete(name);
      const entry = this.entryOf(name);
      if (now - since < LONG_LIFE_MS && mayPause) this.handleFailed(name, false);
      else if (entry !== undefined) entry.failures = 0;
    }
    for (const name of links.keys()) if (!this.usedSince.has(name)) this.usedSince.set(name, now);
  }

  /** @param isElsewhere another exit has answered */
  handleFailed(name: string, isElsewhere: boolean): void {
    const entry = this.entryOf(name);
    if (entry === undefined) return;
    const waitMs = isElsewhere
      ? ELSEWHERE_WAIT_MS
      : Math.min(FIRST_WAIT_MS * 2 ** entry.failures, LONGEST_WAIT_MS) * (0.5 + this.clock.random());
    entry.failures += 1;
    entry.notBefore = this.clock.now() + waitMs;
  }

  /** When one that has no link may be tried again, or names are due to be looked up. */
  nextAt(links: LinksOnWays): number {
    const now = this.clock.now();
    const waiting = this.entries.filter(({ way, notBefore }) => notBefore > now && !links.has(way.name));
    return Math.min(this.lookAgainAt, ...waiting.map(({ notBefore }) => notBefore));
  }

  /** Looks if it is time to. */
  handleTimeout(): void {
    if (this.clock.now() >= this.lookAgainAt) this.look();
  }

  private open(): Entry[] {
    const now = this.clock.now();
    return this.entries.filter(({ notBefore }) => notBefore <= now);
  }

  private entryOf(name: string): Entry | undefined {
    return this.entries.find(({ way }) => way.name === name);
  }

  private async keepLooking(): Promise<void> {
    this.isLooking = true;
    this.lookAgainAt = Number.POSITIVE_INFINITY;
    while (this.mustLookAgain) {
      this.mustLookAgain = false;
      const found = await this.find();
      const named = new Map(found.map((way) => [way.name, way]));
      this.entries = [...named.values()].slice(0, MOST_WAYS).map((way) => ({
        ...(this.entryOf(way.name) ?? { failures: 0, notBefore: Number.NEGATIVE_INFINITY }),
        way,
      }));
    }
    this.isLooking = false;
    this.lookAgainAt = this.clock.now() + LOOK_AGAIN_MS;
    this.onChange();
  }
}
