/** Settings of V8 and of reads for a process that moves many bytes. */
import { setFlagsFromString } from 'node:v8';
import { expectPlainReads } from '../memory/pieces.ts';

/**
 * V8 counts the buffers that pass through as growth of the old generation, and begins an incremental marking of the
 * whole heap whenever 16 MiB have passed: 25 times a second at 600 MB/s, a third of the relay's processor time, to find
 * nothing. Without incremental marking, young collections free the buffers, and a full one comes when the heap itself
 * has grown. Where memory is given back (memory/pieces.ts, all but Node 20) few such buffers are left; the flag still
 * saves a full collection now and then, and costs nothing. docs/adr/0004-no-incremental-marking.md has the measurements
 * and what it costs.
 *
 * Call it first: V8 reads the flag when it is about to begin marking.
 */
export function tuneMemory(): void {
  setFlagsFromString('--no-incremental-marking');
  // A relay that accepts TLS takes this back.
  expectPlainReads(true);
}
