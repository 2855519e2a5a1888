/**
 * What a row of docs/networks.md is: something that a network puts in the way of wstun, played by a real program. The
 * rows are data. Knows no obstacle, and measures nothing.
 */
import type { ClientOptions } from '../programs/wstun-stack.ts';
import type { ObstacleNetwork } from './obstacle-network.ts';

export interface Obstacle {
  /** What is in the way. */
  readonly what: string;
  /** What plays it. */
  readonly program: string;
  /** What the user does; empty: nothing. */
  readonly helps: string;
  /** The one sentence of wstun, with the names of the page; empty: it connects and has nothing to say. */
  readonly says: string;
  start(network: ObstacleNetwork): Promise<Course>;
}

/** What stands in place of a text of the test on the page: ports and hosts differ in each run. */
export type Name = readonly [found: string | RegExp, shown: string];

/** One obstacle in place, and the way through it. */
export interface Course {
  readonly invite: string;
  /** Of a client that has to say what is in the way. Left out: that is said by the client that connects. */
  readonly first?: ClientOptions & { readonly invite?: string };
  /** Of the client that connects. */
  readonly client: ClientOptions;
  readonly names?: readonly Name[];
  /** What the user does after the sentence, while the client runs; it connects then. */
  readonly clearTheWay?: () => Promise<void>;
  /** The sentence comes only after some time of use, ms at most; default: within 3 s. */
  readonly saysWithinMs?: number;
  /** What is fetched, bytes; default: 10 MB. */
  readonly bytes?: number;
  /** It takes minutes, so that it is measured once. */
  readonly isSlow?: boolean;
  /** Where the same file is fetched without wstun, but through the same obstacle; default: the ratio is to no obstacle. */
  readonly plain?: { readonly url: string; readonly within: readonly string[] };
  /** What only the proxy may see, as text. Asked at the end. */
  readonly secrets?: () => readonly string[];
  /** All that passed behind the proxy. */
  readonly beyond?: () => readonly Buffer[];
  /** While the sentence is waited for after a transfer, a stream trickles: nothing is idle. */
  readonly isBusy?: boolean;
  /** Takes the obstacle away. */
  readonly end?: () => Promise<unknown>;
}
