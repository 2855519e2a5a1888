/**
 * Loaded into a measured process with `--import`: answers SIGUSR2 with a line on stdout, {"event":"memory",…}, as
 * `wstun --json` has its events.
 */
import { settledMemory } from './memory.ts';

process.on('SIGUSR2', () => void answer());

async function answer(): Promise<void> {
  process.stdout.write(`${JSON.stringify({ event: 'memory', ...(await settledMemory()) })}\n`);
}
