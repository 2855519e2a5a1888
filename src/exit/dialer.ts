/**
 * Connects to the first of some vetted addresses that answers (RFC 8305, "Happy Eyeballs"). It is given addresses as
 * bytes and never a name, so that exactly what was checked is dialled; it checks nothing itself.
 */
import { connect as netConnect, type Socket } from 'node:net';
import { AbortableWait } from '../async/abortable.ts';
import { systemClock } from '../clock.ts';
import { type WireFaultName, WstunError } from '../errors.ts';
import { ATTEMPT_DELAY_MS, alternate, ConnectionRace } from '../net/connection-race.ts';
import { familyOf, formatIp, type IpBytes, parseIp, sameIp, unmapIp } from '../net/ip.ts';
import { isSelfConnected } from '../net/self-connection.ts';
import { ReadBudget, ReadBuffers, readInto } from './read-buffers.ts';
import type { Spares } from './spare-sockets.ts';
import { dialFaultOf, mostSpecific } from './target-dial-faults.ts';

/** A whole dial, ms: users wait so long for a dead host. A client waits 20 s for the exit's answer. */
const DIAL_LIMIT_MS = 10_000;
/** Silence before keep-alive probes, ms. libuv sends only 10, a second apart; a cloud's NAT forgets after 350 s. */
const KEEP_ALIVE_MS = 300_000;

/** A socket that reads large; its reader takes over in the same turn. Rejects within 10 s, or as `signal` fires. */
export type Dial = (
  addresses: readonly IpBytes[],
  port: number,
  signal: AbortSignal,
  spares?: Spares,
) => Promise<Socket>;

const UNLIMITED: Spares = { acquire: () => true, release: () => {} };

export type Connect = (ip: IpBytes, port: number) => Socket;

/** `connect` is for tests. */
export function createDialer(connect: Connect = literalConnector()): Dial {
  return (addresses, port, signal, spares = UNLIMITED) =>
    new Dialling(interleave(addresses), port, connect, spares, signal).run();
}

function literalConnector(): Connect {
  const budget = new ReadBudget();
  return (ip, port) => {
    const buffers = new ReadBuffers(budget);
    const socket: Socket = netConnect({
      host: formatIp(ip),
      port,
      family: familyOf(ip),
      autoSelectFamily: false,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      onread: readInto(buffers, (chunk) => socket.push(chunk)),
    });
    budget.count(socket, buffers);
    return socket;
  };
}

/** RFC 8305 §4: the families in turn, IPv6 first, each in the order of the answer. */
export function interleave(addresses: readonly IpBytes[]): IpBytes[] {
  return alternate(
    addresses.filter((ip) => familyOf(ip) === 6),
    addresses.filter((ip) => familyOf(ip) === 4),
  );
}

/** One dial: attempts join in turn, the first to connect wins, and the others are destroyed. */
class Dialling {
  private readonly race: ConnectionRace<IpBytes>;
  private readonly running = new Set<Socket>();
  private readonly faults = new Set<WireFaultName>();
  private stagger: NodeJS.Timeout | undefined;
  /** How many it has acquired: one for each running socket after the first. */
  private spare = 0;
  private readonly outcome: AbortableWait<Socket>;

  constructor(
    addresses: readonly IpBytes[],
    private readonly port: number,
    private readonly connect: Connect,
    private readonly spares: Spares,
    signal: AbortSignal,
  ) {
    this.race = new ConnectionRace(addresses);
    this.outcome = new AbortableWait({
      ...{ clock: systemClock, signal, limitMs: DIAL_LIMIT_MS },
      onExpired: () => this.lose(this.faults.add('dial-timed-out')),
      onSettled: () => this.end(),
    });
  }

  run(): Promise<Socket> {
    if (!this.outcome.isOver) this.startNext();
    return this.outcome.promise;
  }

  private lose(faults: ReadonlySet<WireFaultName>): void {
    this.outcome.reject(new WstunError(mostSpecific(faults)));
  }

  private end(): void {
    clearTimeout(this.stagger);
    for (const loser of this.running) loser.destroy();
    this.running.clear();
    this.releaseSpares(0);
  }

  private startNext(): void {
    clearTimeout(this.stagger);
    const now = performance.now();
    const isDue = this.race.nextTimeout() <= now;
    const ip = isDue && this.mayBegin() ? this.race.poll(now) : undefined;
    const nextAt = Math.max(this.race.nextTimeout(), isDue && !ip ? now + ATTEMPT_DELAY_MS : 0);
    if (nextAt < Number.POSITIVE_INFINITY) this.stagger = setTimeout(() => this.startNext(), Math.max(0, nextAt - now));
    if (ip) this.attempt(ip);
    else if (this.race.isLost) this.lose(this.faults);
  }

  /** The first socket needs none; each further one needs a spare. */
  private mayBegin(): boolean {
    if (this.running.size === 0) return true;
    if (!this.spares.acquire()) return false;
    this.spare++;
    return true;
  }

  private releaseSpares(needed: number): void {
    for (; this.spare > needed; this.spare--) this.spares.release();
  }

  private attempt(ip: IpBytes): void {
    const socket = this.connect(ip, this.port);
    this.running.add(socket);
    const fail = (fault: WireFaultName) => {
      if (!this.running.delete(socket)) return;
      socket.destroy();
      this.faults.add(fault);
      this.releaseSpares(Math.max(0, this.running.size - 1));
      this.race.handleFailed();
      this.startNext();
    };
    // Stays on the winner, too: without a listener, an error before its reader takes over would end the process.
    socket.on('error', (error) => fail(dialFaultOf(error)));
    socket.once('connect', () => {
      const fault = faultOfConnected(socket, ip);
      if (fault) return fail(fault);
      // Two attempts may connect in one turn of the event loop: only the one that is not in `running` survives.
      if (this.running.delete(socket)) this.outcome.resolve(socket);
    });
  }
}

/** A connected socket must lead to the address that was dialled. */
function faultOfConnected(socket: Socket, ip: IpBytes): WireFaultName | undefined {
  const remote = parseIp(socket.remoteAddress ?? '');
  // Without a remote address, the target has already reset the connection. What it sent before can still be read.
  if (!remote) return undefined;
  if (!sameIp(unmapIp(remote), ip)) return 'dial-not-allowed';
  return isSelfConnected(socket) ? 'dial-refused' : undefined;
}
