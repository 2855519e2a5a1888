/**
 * The pairs of links that a relay carries, by exit, and an end to those on which nothing moves any more: one of the two
 * is gone and nobody said so. Looks into no byte.
 */
import type { MessageLink } from '../transport/message-link.ts';
import { splice } from './splice.ts';

/** How often it is looked. */
const LOOK_MS = 30_000;
/** Looks in a row, so 120 to 150 s. Both ends ping every 15 s, and give a silent peer up after 45 s. */
const IDLE_LOOKS = 4;

interface Pair {
  readonly links: readonly [MessageLink, MessageLink];
  hasMoved: boolean;
  idleLooks: number;
}

export class Splices {
  private readonly onIdle: (exit: string) => void;
  private readonly pairs = new Map<string, Set<Pair>>();
  private looks: NodeJS.Timeout | undefined;

  /** `onIdle`: a pair was ended because nothing moved on it. */
  constructor(onIdle: (exit: string) => void) {
    this.onIdle = onIdle;
  }

  get exits(): Iterable<string> {
    return this.pairs.keys();
  }

  /** Pairs of an exit. */
  countOf(exit: string): number {
    return this.pairs.get(exit)?.size ?? 0;
  }

  /** Joins two open links; takes the handlers of both. `onEnd` is called when both have ended. */
  join(exit: string, client: MessageLink, link: MessageLink, onEnd: () => void): void {
    const pair: Pair = { links: [client, link], hasMoved: false, idleLooks: 0 };
    const pairs = this.pairs.get(exit) ?? new Set();
    this.pairs.set(exit, pairs.add(pair));
    this.looks ??= setInterval(() => this.look(), LOOK_MS).unref();
    splice(client, link, pair, () => {
      pairs.delete(pair);
      if (pairs.size === 0 && this.pairs.get(exit) === pairs) this.pairs.delete(exit);
      if (this.pairs.size === 0) this.stopLooking();
      onEnd();
    });
  }

  abortAll(exit: string): void {
    for (const { links } of this.pairs.get(exit) ?? []) for (const link of links) link.abort();
  }

  close(): void {
    this.stopLooking();
    for (const pairs of this.pairs.values())
      for (const { links } of pairs) for (const link of links) link.close('going-away');
  }

  private stopLooking(): void {
    clearInterval(this.looks);
    this.looks = undefined;
  }

  private look(): void {
    for (const [exit, pairs] of this.pairs) for (const pair of pairs) this.judge(exit, pair);
  }

  private judge(exit: string, pair: Pair): void {
    pair.idleLooks = pair.hasMoved ? 0 : pair.idleLooks + 1;
    pair.hasMoved = false;
    if (pair.idleLooks < IDLE_LOOKS) return;
    this.onIdle(exit);
    for (const link of pair.links) link.abort();
  }
}
