/** The names that an answer of a name server is about, beside the one that was asked for: those of aliases. Pure. */
import { readRecords } from '../../dns/wire.ts';

const CNAME = 5;
const DNAME = 39;
/** Labels of a name, and pointers on the way: more than any name has (RFC 1035 §2.3.4). */
const MAX_STEPS = 256;

/**
 * Of the answer section: the owner of each record, and where aliases lead. Lower case, without a final dot. Undefined:
 * malformed. @param answer with its question
 */
export function namesIn(answer: Uint8Array): ReadonlySet<string> | undefined {
  const names = new Set<string>();
  for (const { section, type, at, dataAt } of readRecords(answer) ?? []) {
    if (section !== 'answer') break;
    for (const start of type === CNAME || type === DNAME ? [at, dataAt] : [at]) {
      const name = nameAt(answer, start);
      if (name === undefined) return undefined;
      names.add(name);
    }
  }
  return names;
}

/** It may go on elsewhere in the message (RFC 1035 §4.1.4). */
function nameAt(message: Uint8Array, start: number): string | undefined {
  const labels: string[] = [];
  for (let at = start, step = 0; step < MAX_STEPS; step++) {
    const length = message[at];
    if (length === undefined) return undefined;
    if (length === 0) return labels.join('.').toLowerCase();
    if (length >= 0xc0) at = ((length & 0x3f) << 8) | (message[at + 1] ?? 0);
    else {
      labels.push(String.fromCharCode(...message.subarray(at + 1, at + 1 + length)));
      at += 1 + length;
    }
  }
  return undefined;
}
