/**
 * Resolves the names of relays and proxies around the tunnel, while all other queries of the machine go into it. Has a
 * UDP port of its own, for which there is a routing rule. Asks no one but the name servers that it is given.
 */
import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { decode, encode, type Packet, RECURSION_DESIRED } from 'dns-packet';
import { AbortableWait } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { network, networkContains, parseIp } from '../net/ip.ts';
import { VIRTUAL_POOL } from './changes.ts';
import { isOneOf, networkServers } from './name-servers.ts';

const ROUND_MS = 1_000;
const ROUNDS = 2;
const DNS_PORT = 53;
const POOL = network(VIRTUAL_POOL);

export interface ResolverFiles {
  readonly hosts: string;
  readonly resolvConf: string;
  /** Of systemd-resolved: the name servers of the network. */
  readonly resolved: string;
}

const SYSTEM_FILES: ResolverFiles = {
  hosts: '/etc/hosts',
  resolvConf: '/etc/resolv.conf',
  resolved: '/run/systemd/resolve/resolv.conf',
};

type Family = 4 | 6;

export class OutsideResolver {
  private readonly sockets = new Map<Family, Socket>();
  private readonly waiting = new Map<number, (answer: Packet, sender: string) => void>();

  constructor(
    private readonly files: ResolverFiles = SYSTEM_FILES,
    private readonly clock: Clock = systemClock,
  ) {}

  /** @returns the local port of its queries */
  async open(): Promise<number> {
    const port = await this.bind(4, 0);
    // The same, so that one rule is for both; a machine without IPv6 has no name servers of it.
    await this.bind(6, port).catch(() => {});
    return port;
  }

  close(): void {
    for (const socket of this.sockets.values()) socket.close();
    this.sockets.clear();
  }

  /** Rejects with an Error that has the code ENOTFOUND or EAI_AGAIN, within ROUNDS × ROUND_MS. */
  async lookup(name: string): Promise<readonly LookupAddress[]> {
    const known = addressesIn(await textOf(this.files.hosts), name);
    if (known.length > 0) return known;
    const servers = networkServers(await textOf(this.files.resolvConf), await textOf(this.files.resolved));
    if (servers.length === 0) throw lookupFault('EAI_AGAIN', name);
    const answers = await Promise.all([this.ask(name, 'A', servers), this.ask(name, 'AAAA', servers)]);
    const addresses = answers.flatMap((answer) => answer ?? []);
    if (addresses.length > 0) return addresses;
    throw lookupFault(answers.every((answer) => answer === undefined) ? 'EAI_AGAIN' : 'ENOTFOUND', name);
  }

  private async bind(family: Family, port: number): Promise<number> {
    const socket = createSocket({ type: family === 4 ? 'udp4' : 'udp6', ipv6Only: family === 6 });
    socket.on('message', (bytes, { port: from, address }) => {
      if (from === DNS_PORT) this.receive(bytes, address);
    });
    socket.bind(port);
    await once(socket, 'listening');
    socket.on('error', () => {});
    socket.unref();
    this.sockets.set(family, socket);
    return socket.address().port;
  }

  private receive(bytes: Buffer, sender: string): void {
    try {
      const answer = decode(bytes);
      if (answer.type === 'response') this.waiting.get(answer.id ?? 0)?.(answer, sender);
    } catch {
      // Not from a name server.
    }
  }

  /** Undefined: no answer in time. All servers are asked at once: there are three at most, and it is seldom. */
  private async ask(
    name: string,
    type: 'A' | 'AAAA',
    servers: readonly string[],
  ): Promise<readonly LookupAddress[] | undefined> {
    for (let round = 0; round < ROUNDS; round++) {
      const answer = await this.askOnce(name, type, servers);
      if (answer !== undefined) return addressesOf(answer, type);
    }
    return undefined;
  }

  private async askOnce(name: string, type: 'A' | 'AAAA', servers: readonly string[]): Promise<Packet | undefined> {
    const id = randomInt(65_536);
    const query = encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ type, name }] });
    const wait = new AbortableWait<Packet | undefined>({
      ...{ clock: this.clock, signal: NEVER, limitMs: ROUND_MS },
      onExpired: (expired) => expired.resolve(undefined),
      onSettled: () => void this.waiting.delete(id),
    });
    this.waiting.set(id, (answer, sender) => {
      const asked = answer.questions?.[0];
      const isOurs = asked?.name.toLowerCase() === name.toLowerCase() && asked.type === type;
      // NOERROR and NXDOMAIN; of another server the answer may be better.
      const code = (answer.flags ?? 0) & 0xf;
      if (isOurs && isOneOf(servers, sender) && (code === 0 || code === 3)) wait.resolve(answer);
    });
    for (const server of servers)
      this.sockets.get(server.includes(':') ? 6 : 4)?.send(query, DNS_PORT, server, () => {});
    return await wait.promise;
  }
}

const NEVER = new AbortController().signal;

function addressesOf({ answers = [] }: Packet, type: 'A' | 'AAAA'): readonly LookupAddress[] {
  return answers.flatMap((answer) => {
    if (answer.type !== type) return [];
    const address = answer.data;
    const ip = parseIp(address);
    // The answer of a name server whose own queries went into the tunnel.
    const isVirtual = ip !== undefined && networkContains(POOL, ip);
    return ip === undefined || isVirtual ? [] : [{ address, family: type === 'A' ? 4 : 6 }];
  });
}

/** hosts(5). */
function addressesIn(hosts: string, name: string): readonly LookupAddress[] {
  return hosts.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const isMeant = names.some((each) => each.toLowerCase() === name.toLowerCase());
    return isMeant && parseIp(address) !== undefined ? [{ address, family: address.includes(':') ? 6 : 4 }] : [];
  });
}

async function textOf(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '');
}

function lookupFault(code: 'ENOTFOUND' | 'EAI_AGAIN', name: string): Error {
  return Object.assign(new Error(`${code}: ${name}`), { code });
}
