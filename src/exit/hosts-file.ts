/** The machine's hosts file (hosts(5)). getaddrinfo would take one of libuv's four threads for each name. */
import { type IpBytes, parseIp } from '../net/ip.ts';
import { followFile } from './followed-file.ts';

export interface HostsFile {
  /** The addresses of a lower-case name, or undefined if the file does not have it. */
  lookup(name: string): readonly IpBytes[] | undefined;
}

/** @param now ms, monotonic. An unreadable file counts as empty, as does one over 1 MiB, which is a block list. */
export function createHostsFile(path: string, now: () => number): HostsFile {
  const hosts = followFile(path, parseHosts, now);
  return { lookup: (name) => hosts().get(name) };
}

/** A name may be on several lines; lines that are not `ADDRESS NAME…` are skipped, as by the system's reader. */
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
