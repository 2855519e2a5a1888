/**
 * Names to addresses: the hosts file, then the name servers through c-ares, with a cache. It does not check the
 * addresses.
 *
 * Not getaddrinfo (`dns.lookup`): that has four threads for the whole process, so a few names without an answer would
 * stall every dial. c-ares is asked for exactly the name given: it applies no search domain to such a query
 * (search-list.ts does), so that the policy can check each full name before it is looked up.
 */
import { type ResolverOptions as DnsOptions, promises as dns } from 'node:dns';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { AbortableWait } from '../async/abortable.ts';
import { systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { type IpBytes, parseIp } from '../net/ip.ts';
import { type Answer, combineAnswers, DnsCache, type FamilyAnswer, type TimedAnswer } from './dns-cache.ts';
import { followFile } from './followed-file.ts';
import { createHostsFile } from './hosts-file.ts';
import { fullNamesOf, parseSearchList, type SearchContext } from './search-list.ts';
import { isLocalhostName } from './special-names.ts';

/** At least one address, AAAA before A, and the name that has them. */
interface ResolvedName {
  readonly name: string;
  readonly addresses: readonly IpBytes[];
}

export interface Resolver {
  /**
   * The full names that `name`, as target-host.ts makes it, means on this machine: itself and those below the search
   * domains, in the order in which they are tried. Only itself if the hosts file has it.
   */
  fullNamesOf(name: string): readonly string[];
  /**
   * The first of `names` that has addresses; full names as target-host.ts makes them. Rejects with a WstunError
   * within 5 s: `dial-name-unknown`, `dial-name-failed`, or `dial-cancelled` when `signal` fired.
   */
  resolve(names: readonly string[], signal: AbortSignal): Promise<ResolvedName>;
  /** The addresses of a name that no name server is asked for. A resolver without this method has none. */
  localAddresses?(name: string): readonly IpBytes[] | undefined;
  /** Those that are asked now: `IP`, `IP:PORT` or `[IPV6]:PORT`. A resolver without this method has none. */
  nameServers?(): readonly string[];
}

export interface ResolverOptions {
  /** Name servers, `IP`, `IP:PORT` or `[IPV6]:PORT`. Default: the system's, read again for each look-up. */
  readonly servers?: readonly string[];
  readonly hostsFile?: string;
  /** Only its search list is read here; c-ares reads its name servers. Default: /etc/resolv.conf. */
  readonly resolvConf?: string;
  /** Default: the process's. */
  readonly search?: SearchContext;
  /** ms, monotonic. */
  readonly now?: () => number;
}

/** A whole look-up, ms: with the 10 s of a dial less than the 20 s for which a client waits. */
const LOOKUP_LIMIT_MS = 5_000;
/**
 * Once A or AAAA has returned addresses: how much longer to wait for the other, ms. RFC 8305 §3 has 50 ms, but there a
 * late answer still joins the race; here it is lost, and on an exit without IPv6 (or IPv4) it may be the one that
 * works.
 */
const OTHER_FAMILY_MS = 1_000;
/** One query to one server, ms; c-ares doubles it with each round, and three rounds fit into the limit. */
const ASK: DnsOptions = { timeout: 1_000, tries: 3 };
/** Entries of about 400 bytes (32 addresses: 3 KB): 2 MB, 12 MB when someone fills it on purpose. */
const MAX_CACHED_NAMES = 4_096;

const NO_ANSWER = 'no answer in time';
const LATE: Answer = { kind: 'fault', fault: 'dial-name-failed', detail: NO_ANSWER, next: false };
const LOOPBACK: readonly IpBytes[] = ['::1', '127.0.0.1'].flatMap((text) => parseIp(text) ?? []);

/** Throws `bad-option` for a name server that is no address. */
export function createResolver(options: ResolverOptions = {}): Resolver {
  const now = options.now ?? (() => performance.now());
  const hosts = createHostsFile(options.hostsFile ?? '/etc/hosts', now);
  const context = options.search ?? { env: process.env, hostname: hostname() };
  const parse = (text: string) => parseSearchList(text, context);
  const searchList = followFile(options.resolvConf ?? '/etc/resolv.conf', parse, now);
  const cache = new DnsCache(MAX_CACHED_NAMES);
  const underway = new Map<string, LookUp>();
  newDnsResolver(options.servers); // to complain now, not at the first name

  const begin = (name: string): LookUp => {
    const lookUp = new LookUp(name, newDnsResolver(options.servers), () => underway.delete(name));
    underway.set(name, lookUp);
    void lookUp.answer.then((timed) => {
      if (underway.get(name) !== lookUp) return; // abandoned: this is no answer
      underway.delete(name);
      cache.set(name, timed, now());
    });
    return lookUp;
  };

  const ask = (name: string, signal: AbortSignal, limitMs: number): Answer | Promise<Answer> => {
    const local = localAddresses(name);
    if (local) return { kind: 'addresses', addresses: local };
    return cache.get(name, now()) ?? (underway.get(name) ?? begin(name)).join(signal, limitMs);
  };
  const localAddresses = (name: string) => hosts.lookup(name) ?? (isLocalhostName(name) ? LOOPBACK : undefined);

  return {
    localAddresses,
    nameServers: () => newDnsResolver(options.servers).getServers(),
    fullNamesOf: (name) => (localAddresses(name) ? [name] : fullNamesOf(name, searchList())),
    async resolve(names, signal) {
      const deadline = performance.now() + LOOKUP_LIMIT_MS;
      let fault = new WstunError('dial-name-unknown');
      for (const name of names) {
        if (signal.aborted) throw new WstunError('dial-cancelled');
        const answer = await ask(name, signal, deadline - performance.now());
        if (answer.kind === 'addresses') return { name, addresses: answer.addresses };
        // As in res_search: a name that exists without an address says more than the next one, which does not exist.
        if (fault.fault === 'dial-name-unknown') fault = new WstunError(answer.fault, answer.detail);
        if (!answer.next) break;
      }
      throw fault;
    },
  };
}

/** One for each look-up (12 µs): cancelled alone, from ports of its own, and by the current resolv.conf. */
function newDnsResolver(servers: readonly string[] | undefined): dns.Resolver {
  const resolver = new dns.Resolver(ASK);
  try {
    // Port 0 would end the process (Node 20).
    if (servers?.some((server) => /\]?:0+$/.test(server) && !isIP(server))) throw new RangeError('port 0');
    if (servers && servers.length > 0) resolver.setServers(servers);
  } catch (error) {
    throw new WstunError('bad-option', '--dns needs IP or IP:PORT, with an IPv6 address in brackets', { cause: error });
  }
  return resolver;
}

/** One look-up under way, shared by all that want the name, and cancelled when the last of them has left. */
class LookUp {
  /** Never rejects. */
  readonly answer: Promise<TimedAnswer>;
  private readonly timers: NodeJS.Timeout[] = [];
  private waiting = 0;

  constructor(
    name: string,
    private readonly resolver: dns.Resolver,
    private readonly handleAbandoned: () => void,
  ) {
    this.cancelAfter(LOOKUP_LIMIT_MS);
    this.answer = this.ask(name);
  }

  /** Rejects with `dial-cancelled` when `signal`, which has not fired yet, does. Waits no longer than `limitMs`. */
  join(signal: AbortSignal, limitMs: number): Promise<Answer> {
    this.waiting++;
    const wait = new AbortableWait<Answer>({
      // A turn later than the look-up's own limit, whose answer is remembered.
      ...{ clock: systemClock, signal, limitMs: limitMs + 50 },
      onExpired: () => {
        this.leave();
        wait.resolve(LATE);
      },
      onAbort: () => {
        this.leave();
        wait.reject(new WstunError('dial-cancelled'));
      },
    });
    void this.answer.then(({ answer }) => wait.resolve(answer));
    return wait.promise;
  }

  private leave(): void {
    if (--this.waiting > 0) return;
    this.handleAbandoned(); // first, so that no one joins what is about to be cancelled
    this.resolver.cancel();
  }

  private async ask(name: string): Promise<TimedAnswer> {
    const [v6, v4] = await Promise.all([
      this.askFamily(this.resolver.resolve6(name, { ttl: true })),
      this.askFamily(this.resolver.resolve4(name, { ttl: true })),
    ]);
    for (const timer of this.timers) clearTimeout(timer);
    return combineAnswers(v6, v4);
  }

  private async askFamily(question: Promise<{ address: string; ttl: number }[]>): Promise<FamilyAnswer> {
    try {
      const records = await question;
      this.cancelAfter(OTHER_FAMILY_MS);
      return { kind: 'found', records };
    } catch (error) {
      return answerOfError(error);
    }
  }

  private cancelAfter(ms: number): void {
    this.timers.push(setTimeout(() => this.resolver.cancel(), ms));
  }
}

/** The codes are those of node:dns; ECANCELLED is our own time limit. */
function answerOfError(error: unknown): FamilyAnswer {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'no code';
  if (code === 'ENOTFOUND') return { kind: 'unknown' };
  if (code === 'ENODATA') return { kind: 'empty' };
  return { kind: 'failed', code: code === 'ECANCELLED' ? NO_ANSWER : code };
}
