/** TCP to a relay by its name: resolves the name for each dial, and races its addresses (RFC 8305). */
import type { LookupAddress } from 'node:dns';
import { lookup as systemLookup } from 'node:dns/promises';
import { isIP, type Socket } from 'node:net';
import { AbortableWait } from '../../async/abortable.ts';
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { ConnectionRace } from '../../net/connection-race.ts';
import type { HostPort } from '../../net/host-port.ts';
import { type Family, familyOf } from './address-family.ts';
import type { RelayAddresses } from './relay-addresses.ts';
import { NAME_SLOW } from './relay-dial-faults.ts';

/** After this time without an answer of the resolver, the address that worked last is tried, if there is one. */
const RESOLVER_LIMIT_MS = 1_500;

/** Of several failures, the one that says most about the relay comes first; codes that are not listed come last. */
const MOST_SPECIFIC: readonly string[] = [
  'ECONNREFUSED',
  'ETIMEDOUT',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
];

/** Why there is no connection: `code` is Node's, or the resolver's. */
export class TcpFault extends Error {
  constructor(readonly code: string) {
    super(code);
  }
}

export type Lookup = (host: string) => Promise<readonly LookupAddress[]>;

/** What a name resolves to, or the address that it is. Rejects as the resolver. */
export async function addressesOf(host: string, lookup: Lookup = lookupAll): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  return (await lookup(host)).map(({ address }) => address);
}

const lookupAll: Lookup = (name) => systemLookup(name, { all: true });

export interface TcpDialOptions {
  /** A name, or an address without brackets. */
  readonly host: string;
  readonly port: number;
  /** Cancels the dial. */
  readonly signal: AbortSignal;
  /** Time limit for the name and TCP together. */
  readonly limitMs: number;
  readonly known: RelayAddresses;
  /** Why an address is not to be dialled, as the code of a TcpFault; undefined: it is. Default: all are. */
  readonly faultOfAddress?: (address: string) => string | undefined;
  /** Addresses of this family are tried first. */
  readonly prefer?: Family | undefined;
  /** As of a Reach. */
  readonly beforeConnect?: ((place: HostPort) => Promise<void> | undefined) | undefined;
  /** Starts one connection. @param address of the host, as text */
  connect(address: string): Socket;
  /** For tests; default: the system's resolver. */
  readonly lookup?: Lookup | undefined;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export interface DialledTcp {
  /** Connected; its only listener takes errors. */
  readonly socket: Socket;
  /** Where it is connected to: the caller tells `known` about it. */
  readonly address: string;
}

/** Rejects with a TcpFault or `dial-cancelled`, and then leaves no socket. */
export function dialTcp(options: TcpDialOptions): Promise<DialledTcp> {
  return new TcpDial(options).run();
}

/** The key under which `RelayAddresses` knows a relay. */
export function placeOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host}:${port}`;
}

class TcpDial {
  private readonly clock: Clock;
  private readonly running = new Set<Socket>();
  private readonly faults: string[] = [];
  private race: ConnectionRace<string> | undefined;
  /** Why the last good address is tried instead of those of the name. */
  private nameFault: string | undefined;
  private stagger: Timer | undefined;
  private readonly wait: AbortableWait<DialledTcp>;

  constructor(private readonly options: TcpDialOptions) {
    const { signal, limitMs, clock = systemClock } = options;
    this.clock = clock;
    this.wait = new AbortableWait<DialledTcp>({ clock, signal, limitMs, onExpired: () => this.handleLimit() });
  }

  async run(): Promise<DialledTcp> {
    if (this.wait.isOver) return this.wait.promise;
    const resolverLimit = this.clock.setTimeout(() => this.handleNoAddresses(NAME_SLOW), RESOLVER_LIMIT_MS);
    void this.resolve();
    try {
      return await this.wait.promise;
    } finally {
      this.clock.clearTimeout(resolverLimit);
      this.clock.clearTimeout(this.stagger);
      for (const loser of this.running) loser.destroy();
    }
  }

  // ── addresses ──────────────────────────────────────────────────────────────────────────────────────────────────────

  private async resolve(): Promise<void> {
    const { host, lookup } = this.options;
    try {
      const found = await addressesOf(host, lookup);
      this.nameFault = undefined;
      this.begin(found);
    } catch (error) {
      this.handleNoAddresses(codeOf(error));
    }
  }

  private begin(found: readonly string[]): void {
    if (this.wait.isOver) return;
    if (found.length === 0) return this.handleNoAddresses('ENOTFOUND');
    const { known, prefer } = this.options;
    const addresses = found.filter((address) => this.faultOf(address) === undefined);
    if (addresses.length === 0) return this.handleNoAddresses(this.faultOf(found[0] ?? '') ?? 'ENOTFOUND');
    if (this.race === undefined) {
      // The one that worked last is among them even where the name does not resolve to it.
      const all = known.order(placeOf(this.options), addresses).filter((one) => this.faultOf(one) === undefined);
      this.race = new ConnectionRace(preferred(all, prefer));
    } else this.race.add(addresses.filter((address) => address !== this.lastGood()));
    this.startNext();
  }

  /** Why an address is not to be dialled now: the user's choice and the machine's addresses may have changed. */
  private faultOf(address: string): string | undefined {
    return this.options.faultOfAddress?.(address);
  }

  private lastGood(): string | undefined {
    const address = this.options.known.lastGood(placeOf(this.options));
    return address === undefined || this.faultOf(address) !== undefined ? undefined : address;
  }

  private handleNoAddresses(code: string): void {
    if (this.wait.isOver || this.race !== undefined) return;
    const lastGood = this.lastGood();
    if (lastGood !== undefined) {
      this.nameFault = code;
      this.begin([lastGood]);
    } else if (code !== NAME_SLOW) this.wait.reject(new TcpFault(code));
  }

  // ── the race ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private startNext(): void {
    this.clock.clearTimeout(this.stagger);
    const { race } = this;
    if (this.wait.isOver || race === undefined) return;
    const now = this.clock.now();
    const address = race.poll(now);
    const nextAt = race.nextTimeout();
    if (nextAt < Number.POSITIVE_INFINITY) {
      this.stagger = this.clock.setTimeout(() => this.startNext(), Math.max(0, nextAt - now));
    }
    if (address !== undefined) this.attempt(address);
    else if (race.isLost) this.wait.reject(this.mostSpecific());
  }

  private attempt(address: string): void {
    const { beforeConnect, port } = this.options;
    const ready = beforeConnect?.({ host: address, port });
    if (ready === undefined) return this.connect(address);
    ready.then(
      () => {
        if (!this.wait.isOver) this.connect(address);
      },
      (error: unknown) => this.handleFault(codeOf(error)),
    );
  }

  private connect(address: string): void {
    const socket = this.options.connect(address);
    this.running.add(socket);
    // Stays on the winner, too: without a listener, an error before its owner takes over would end the process.
    socket.on('error', (error) => {
      if (this.running.delete(socket)) this.handleFault(codeOf(error));
    });
    socket.once('connect', () => {
      // Two may connect in one turn of the event loop. The second stays among the running, which are destroyed.
      if (this.wait.isOver) return;
      this.running.delete(socket);
      this.wait.resolve({ socket, address });
    });
  }

  private handleFault(code: string): void {
    this.faults.push(code);
    this.race?.handleFailed();
    this.startNext();
  }

  private handleLimit(): void {
    if (this.race === undefined) return this.wait.reject(new TcpFault(NAME_SLOW));
    this.faults.push('ETIMEDOUT');
    this.wait.reject(this.mostSpecific());
  }

  /** If the name could not be resolved, that is the cause, and not the failure of its last good address. */
  private mostSpecific(): TcpFault {
    const known = MOST_SPECIFIC.find((code) => this.faults.includes(code));
    return new TcpFault(this.nameFault ?? known ?? this.faults[0] ?? 'ETIMEDOUT');
  }
}

/** The first of the family comes first; the others stay in their order. */
function preferred(addresses: readonly string[], family: Family | undefined): readonly string[] {
  const first = addresses.find((address) => familyOf(address) === family);
  return first === undefined ? addresses : [first, ...addresses.filter((address) => address !== first)];
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason';
}
