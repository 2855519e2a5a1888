/** The rows of docs/networks.md, in its order. */
import { BOXES } from './boxes.ts';
import { FRONTS } from './fronts.ts';
import { INSPECTORS } from './inspectors.ts';
import type { Obstacle } from './obstacle.ts';
import { PATHS } from './paths.ts';
import { PROXIES } from './proxies.ts';
import { WAITS } from './waits.ts';

export const OBSTACLES: readonly Obstacle[] = [...PROXIES, ...INSPECTORS, ...FRONTS, ...BOXES, ...WAITS, ...PATHS];
