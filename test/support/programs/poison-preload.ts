/** Runs inside a wstun: memory that was given back must not be used again. */
import { poison } from '../memory/poison.ts';

/** The module that the program itself loads: a copy of it would mark nothing of what the program owns. */
const pieces = process.env.WSTUN_POISON;
if (pieces !== undefined) (await import(pieces)).watchMemory(poison);
