/**
 * Finds uses of memory that was given back (src/memory/pieces.ts), on any release of Node and for pieces of any length:
 * what is released is overwritten at once, so that a read or a write under way carries wrong bytes; its length can no
 * longer be asked for; and a second release of the same byte fails. What nobody owns any more is detached, as in Node
 * 22 and later.
 */
import type { MemoryWatch } from '../../../src/memory/pieces.ts';

const POISON = 0xdb;

/** Bytes of one memory that have an owner: 1, or none: 0. */
const owned = new WeakMap<ArrayBufferLike, Uint8Array>();

/** Counts faults in place of failing for them, for the test of this file. */
let expected: { faults: number } | undefined;

/** From now on faults are thrown where they are found, and nowhere else. Returns how many there were, and ends it. */
export function watchFaults(): () => number {
  const counter = { faults: 0 };
  expected = counter;
  return () => {
    expected = undefined;
    return counter.faults;
  };
}

function fault(text: string): never {
  const error = new Error(`memory: ${text}`);
  if (expected !== undefined) expected.faults += 1;
  else fail(error);
  throw error;
}

/** Wherever the fault is caught, the program must not go on as if nothing had been. */
function fail(error: Error): void {
  process.stderr.write(`${error.stack}\n`);
  setImmediate(() => {
    throw error;
  });
}

const denied = { get: () => fault('the length of bytes that were released is asked for') };
const DENIED = { length: denied, byteLength: denied };

export const poison: MemoryWatch = {
  handleOwned: ({ buffer, byteOffset, length }) => {
    const map = owned.get(buffer) ?? new Uint8Array(buffer.byteLength);
    owned.set(buffer, map.fill(1, byteOffset, byteOffset + length));
  },
  handleReleased: (bytes) => {
    const { buffer, byteOffset, length } = bytes;
    const map = owned.get(buffer)?.subarray(byteOffset, byteOffset + length);
    if (map === undefined || map.includes(0)) return fault('bytes are released that have no owner');
    map.fill(0);
    bytes.fill(POISON);
    Object.defineProperties(bytes, DENIED);
  },
  handleLentBack: (bytes) => void bytes.fill(POISON),
  handleGivenBack: (memory) => void structuredClone(memory, { transfer: [memory as ArrayBuffer] }),
};
