/**
 * Loaded before every file of test/e2e: in a wstun that it starts, memory that was given back must not be used again.
 */
import { usePoisonedProgram } from './wstun-program.ts';

usePoisonedProgram();
