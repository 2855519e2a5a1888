/** The links that a relay splices, by exit. Ends pairs on which nothing moves: an end has gone without a close. */
import { type Clock, systemClock, type Timer } from '../clock.ts';
import type { MessageLink } from '../transport/message-link.ts';
import { type ForwardedPeer, ForwardedPeers } from './forwarded-peers.ts';
import { splice } from './splice.ts';

const CHECK_MS = 30_000;
/** Checks in a row, so 120 to 150 s. Both ends ping every 15 s, and give a silent peer up after 45 s. */
const MAX_IDLE_CHECKS = 4;

interface Pair {
  readonly links: readonly [MessageLink, MessageLink];
  readonly counter: ForwardedPeer;
  hasMoved: boolean;
  idleChecks: number;
}

interface SplicedEnds {
  readonly exit: string;
  readonly peer: string;
}

export class Splices {
  private readonly pairs = new Map<string, Set<Pair>>();
  private checks: Timer | undefined;

  constructor(
    /** A pair was ended because nothing moved on it. */
    private readonly onIdle: (exit: string) => void,
    private readonly clock: Clock = systemClock,
    /** Who is on by them. */
    readonly peers = new ForwardedPeers(),
  ) {}

  get exits(): Iterable<string> {
    return this.pairs.keys();
  }

  /** Pairs of an exit. */
  countOf(exit: string): number {
    return this.pairs.get(exit)?.size ?? 0;
  }

  /** Joins the links of a client and its exit; takes the handlers of both. `onEnd` is called when both have ended. */
  join({ exit, peer }: SplicedEnds, client: MessageLink, link: MessageLink, onEnd: () => void): void {
    const counter = this.peers.handleLink(exit, peer, client.remote, this.clock.now());
    const pair: Pair = { links: [client, link], counter, hasMoved: false, idleChecks: 0 };
    const pairs = this.pairs.get(exit) ?? new Set();
    this.pairs.set(exit, pairs.add(pair));
    if (this.checks === undefined) this.checkLater();
    splice(client, link, pair, () => {
      pairs.delete(pair);
      this.peers.handleEnd(counter);
      if (pairs.size === 0 && this.pairs.get(exit) === pairs) this.pairs.delete(exit);
      if (this.pairs.size === 0) this.stopChecks();
      onEnd();
    });
  }

  abortAll(exit: string): void {
    for (const { links } of this.pairs.get(exit) ?? []) for (const link of links) link.abort();
  }

  close(): void {
    this.stopChecks();
    for (const pairs of this.pairs.values())
      for (const { links } of pairs) for (const link of links) link.close('going-away');
  }

  private checkLater(): void {
    this.checks = this.clock.setTimeout(() => {
      this.checkLater();
      for (const [exit, pairs] of this.pairs) for (const pair of pairs) this.checkIdle(exit, pair);
    }, CHECK_MS);
    this.checks.unref();
  }

  private stopChecks(): void {
    this.clock.clearTimeout(this.checks);
    this.checks = undefined;
  }

  private checkIdle(exit: string, pair: Pair): void {
    pair.idleChecks = pair.hasMoved ? 0 : pair.idleChecks + 1;
    pair.hasMoved = false;
    if (pair.idleChecks < MAX_IDLE_CHECKS) return;
    this.onIdle(exit);
    for (const link of pair.links) link.abort();
  }
}
