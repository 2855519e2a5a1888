/**
 * The machine's hosts file (hosts(5)), as people expect it to count: `--allow myhost` means what `ping myhost` means. Parsed
 * here, as getaddrinfo would take one of libuv's four threads for each name.
 */
import { readFileSync, statSync } from 'node:fs';
import { type IpBytes, parseIp } from './ip.ts';

/** A larger file is a block list, not a list of hosts, and is left alone: parsing it would hold up the event loop. Bytes. */
const MAX_HOSTS_BYTES = 1024 * 1024;
/** How long a look at the file holds, ms: the look costs 20 µs of the event loop, so not at every name. */
const CHECK_INTERVAL_MS = 5_000;

export interface HostsFile {
  /** The addresses of a lower-case name, or undefined if the file does not have it. */
  lookup(name: string): readonly IpBytes[] | undefined;
}

/** `now` in ms, of any monotonic clock. A file that is missing or cannot be read is empty. */
export function createHostsFile(path: string, now: () => number): HostsFile {
  let hosts: ReadonlyMap<string, readonly IpBytes[]> = new Map();
  let stamp = '';
  let checkAt = -Infinity;
  const refresh = () => {
    const found = stampOf(path);
    if (found === stamp) return;
    stamp = found;
    hosts = found === '' ? new Map() : readHosts(path);
  };
  return {
    lookup(name) {
      if (now() >= checkAt) {
        checkAt = now() + CHECK_INTERVAL_MS;
        refresh();
      }
      return hosts.get(name);
    },
  };
}

/** Changes whenever the file does; empty for a file that is not to be read. */
function stampOf(path: string): string {
  const stat = attempt(() => statSync(path, { throwIfNoEntry: false, bigint: true }));
  if (!stat?.isFile() || stat.size > MAX_HOSTS_BYTES) return '';
  return `${stat.mtimeNs}/${stat.size}/${stat.ino}`;
}

function readHosts(path: string): ReadonlyMap<string, readonly IpBytes[]> {
  return parseHosts(attempt(() => readFileSync(path, 'latin1')) ?? '');
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** A name may stand on several lines; lines that are none of `ADDRESS NAME…` are passed over, as the system's own reader does. */
export function parseHosts(text: string): ReadonlyMap<string, readonly IpBytes[]> {
  const hosts = new Map<string, IpBytes[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const ip = parseIp(address);
    if (!ip) continue;
    for (const name of names) {
      const key = name.toLowerCase();
      hosts.set(key, [...(hosts.get(key) ?? []), ip]);
    }
  }
  return hosts;
}
