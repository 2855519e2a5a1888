/** A small system file that is checked now and then, and read again when it has changed. */
import { readFileSync, statSync } from 'node:fs';

/** A larger file was not written by hand, and is ignored: parsing it would block the event loop. Bytes. */
const MAX_BYTES = 1024 * 1024;
/** How long a check of the file counts, ms: it costs 20 µs of the event loop, so not at every name. */
const CHECK_INTERVAL_MS = 5_000;

/** What `parse` makes of the file, at most 5 s old; one that cannot be read is empty. @param now ms, monotonic */
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

/** Changes whenever the file does; empty for a file that must not be read. */
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
