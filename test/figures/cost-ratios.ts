/**
 * What cost.test.ts holds wstun to. To renew it, on a machine of two cores or more with nothing else to do:
 *
 *     FIGURES=1 npx vitest run test/figures/cost.test.ts
 *
 * makes all its tries, and says the best so far of each Node after each. The last line of a Node has what to take:
 * "down, 1 stream: both" and "up, 1 stream: both". Ratios, because they hardly change from machine to machine, as times
 * do. On a machine in use they are higher.
 */

/** CPU s/GB of client and relay, as a multiple of the floor's (bench/floor.ts), one stream, by release of Node. */
export const COST_RATIOS: Readonly<Record<number, { readonly down: number; readonly up: number }>> = {
  20: { down: 1.3, up: 1.1 },
  22: { down: 1.4, up: 1.3 },
  24: { down: 1.45, up: 1.3 },
  26: { down: 1.6, up: 1.3 },
};

/**
 * How much more it may be in the best of three tries. On virtual machines that share their cores, one build on Node 22
 * had 1.59 to 2.09 within ten minutes, and one on Node 24 had 1.93 to 1.97, down, where another day it had 1.45. Memory
 * that is not given back is above 2.2 on Node 22, and the collections tell it exactly.
 */
export const COST_TOLERANCE = 1.55;

/** Full collections of each process, of half a gigabyte each way. Node 20 leaves memory to the collector. */
export function collectionsLimit(release: number): number {
  return release < 22 ? 4 : 1;
}
