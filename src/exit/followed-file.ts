/** A small file of the system's that is looked at now and then, and read anew when it has changed. */
import { readFileSync, statSync } from 'node:fs';

/** A larger file is none that people wrote, and is left alone: parsing it would hold up the event loop. Bytes. */
const MAX_BYTES = 1024 * 1024;
/** How long a look at the file holds, ms: the look costs 20 µs of the event loop, so not at every name. */
const CHECK_INTERVAL_MS = 5_000;

/**
 * Returns what `parse` makes of the file as it stands, 5 s old at most. A file that is missing or cannot be read is
 * empty.
 * @param now ms, of any monotonic clock
 */
export function followFile<T>(path: string, parse: (text: string) => T, now: () => number): () => T {
  let value = parse('');
  let stamp = '';
  let checkAt = -Infinity;
  return () => {
    if (now() < checkAt) return value;
    checkAt = now() + CHECK_INTERVAL_MS;
    const found = stampOf(path);
    if (found === stamp) return value;
    stamp = found;
    value = parse(found === '' ? '' : (attempt(() => readFileSync(path, 'latin1')) ?? ''));
    return value;
  };
}

/** Changes whenever the file does; empty for a file that is not to be read. */
function stampOf(path: string): string {
  const stat = attempt(() => statSync(path, { throwIfNoEntry: false, bigint: true }));
  if (!stat?.isFile() || stat.size > MAX_BYTES) return '';
  return `${stat.mtimeNs}/${stat.size}/${stat.ino}`;
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
