/** The releases of Node that wstun is tested on beside the one at hand; test/support/install-nodes.sh fetches them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const CACHE = join(import.meta.dirname, '../../../node_modules/.cache/wstun-nodes');

export const OTHER_LINES = [22, 24, 26] as const;
export const NEWEST_LINE = 26;

/** The Node of a release line, whether it is there or not. */
export const nodeProgram = (line: number): string => join(CACHE, `node-${line}`);

export const isThere = (line: number): boolean => existsSync(nodeProgram(line));

/** It is there, and none of its line is the one at hand. */
export const isOther = (line: number): boolean => isThere(line) && !process.version.startsWith(`v${line}.`);
