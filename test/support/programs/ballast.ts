/** A relay that is short of memory for as long as a test says. */

import { until } from '../until.ts';
import { preload } from './preload.ts';
import type { WstunProcess } from './wstun-process.ts';

/** `memory` of its limits.toml, between what it takes by itself and what it takes with ballast. */
export const BALLAST_LIMIT_MIB = 200;

/** For its environment. */
export const ballastEnv = () => preload('test/support/programs/ballast-preload.ts');

/** Takes ballast aboard if it has none, else throws it off. Resolves when the kernel counts it so. */
export async function shiftBallast(process: WstunProcess): Promise<void> {
  const isHeavy = (): boolean => process.memory().resident > BALLAST_LIMIT_MIB;
  const before = isHeavy();
  process.signal('SIGUSR2');
  await until(() => isHeavy() !== before);
}
