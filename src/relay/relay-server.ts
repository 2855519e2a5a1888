/**
 * The relay's public side: HTTP on one or more addresses, of which the gate makes links and the decoy answers the rest.
 * Live links belong to the caller; keys, access lists and sessions are unknown here.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, Server as TlsServer } from 'node:https';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createSecureContext } from 'node:tls';
import { WstunError } from '../errors.ts';
import { expectPlainReads } from '../memory/pieces.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import type { MessageLink } from '../transport/message-link.ts';
import { createWebSocketAcceptor, type WebSocketAcceptor } from '../transport/websocket-accept.ts';
import { createAdminServer } from './admin-server.ts';
import { afterAnswers, answer, answerUnreadable, type Decoy, notFoundDecoy } from './decoy.ts';
import { type Admitted, Gate, type GateDecision, type Refused, type Tickets } from './gate.ts';
import { type ListenPlace, listen } from './listen.ts';
import { Pace, type Rate } from './notice-rate.ts';
import { PendingSockets } from './pending-sockets.ts';
import { RefusalLog } from './refusal-log.ts';
import { SourcePenalties, sourceOf } from './source-limits.ts';
import { createUpgradeChoice, type UpgradeChoice } from './upgrade-choice.ts';

/**
 * A peer that is gone without a word is found out even where nothing is sent; later than by the 45 s of silence that
 * both ends of a link allow each other, since some kernels give up 10 s after this.
 */
const KEEP_ALIVE_MS = 60_000;
/**
 * Failures of the address of an exit that stands: of a call that is dropped, the data link comes in vain. Beyond, it is
 * as any.
 */
const EXIT_FAILURES: Rate = { perSecond: 50, burst: 512 };
/** How often node looks for requests that are late. */
const LATE_CHECK_MS = 1_000;

export interface RelayLimits {
  /** From the connection to the last byte of the request, milliseconds; over TLS as much again for the handshake. */
  readonly requestMs: number;
  /** Connections that are not links, on all addresses together. */
  readonly pendingSockets: number;
  /**
   * Of these, from one public IPv4 address or IPv6 /64. 0: no bound, and no penalties for addresses that knock too
   * often.
   */
  readonly pendingPerSource: number;
  /** Links at once. Beyond it tickets open none, and their peers are told so. */
  readonly links: number;
}

/** The file descriptors that a service usually may have are 65,536, and each stream takes one too. */
export const DEFAULT_LINKS = 10_000;

const DEFAULT_LIMITS: RelayLimits = {
  // A request is one packet, a handshake two round trips; slower than ten seconds is Slowloris.
  requestMs: 10_000,
  // 5 KB each, 27 KB over TLS (measured), and up to 16 KiB of head: at most 44 MB. A thousand clients may return at
  // once.
  pendingSockets: 1_024,
  // It takes sixteen addresses to fill the above, and still 64 clients behind one NAT may return in the same instant.
  pendingPerSource: 64,
  links: DEFAULT_LINKS,
};

/** PEM texts; the certificate with its chain. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

export interface RelayServerOptions {
  /** At least one. */
  readonly listen: readonly ListenPlace[];
  /** Without it the relay speaks plain HTTP. */
  readonly tls?: TlsPair;
  /** Links are let in only below this path (`parsePathPrefix`); default: below any. */
  readonly path?: string;
  readonly tickets: Tickets;
  /** Until it resolves keys are still being taken up, and no connection is read. Default: all are known. */
  readonly settled?: Promise<void>;
  /** A link has opened; its handler must be set before the turn ends. */
  readonly onLink: (link: MessageLink, admitted: Admitted) => void;
  /** What strangers see; default: a plain 404. */
  readonly decoy?: Decoy;
  /** Where the health page is; default: nowhere. */
  readonly admin?: HostPort;
  readonly logger: Logger;
  readonly limits?: Partial<RelayLimits>;
  /** Instead of `sourceOf`: what the limits by address go by; undefined is exempt. */
  readonly sourceOf?: (address: string | undefined) => string | undefined;
}

export interface RelayServer {
  /** In the order of `listen`, with the ports that the system chose. */
  readonly addresses: readonly HostPort[];
  readonly adminAddress: HostPort | undefined;
  /** How many more it can take. */
  readonly linksFree: number;
  /**
   * What new connections are shown from now on; those that stand keep theirs. Only for a relay that was started with
   * `tls`.
   * @throws WstunError bad-certificate; the pair before stays in use
   */
  setTls(pair: TlsPair): void;
  /** Stops listening and closes what is no link. Links stay: they are the caller's. */
  close(): void;
}

/**
 * Listens on all addresses or on none.
 * @throws WstunError cannot-listen, bad-passed-socket, bad-certificate
 */
export async function startRelayServer(options: RelayServerOptions): Promise<RelayServer> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const front = new Front(options, limits);
  const servers = options.listen.map((place) => {
    const upgrades = createUpgradeChoice();
    return { place, upgrades, server: createHttpServer(options, limits, upgrades) };
  });
  const admin = options.admin && { address: options.admin, server: createAdminServer() };
  const close = (): void => {
    for (const { server } of servers) server.close();
    front.pending.destroyAll();
    admin?.server.close();
    admin?.server.closeAllConnections();
  };
  try {
    const addresses: HostPort[] = [];
    // One after the other: closing a server that is still on its way to listening would not stop it.
    for (const { server, place, upgrades } of servers) {
      front.attach(server, upgrades);
      addresses.push(await listen(server, place, options.listen));
    }
    const adminAddress = admin && (await listen(admin.server, admin.address));
    for (const { server } of [...servers, ...(admin ? [admin] : [])]) {
      server.on('error', ({ message }) => options.logger.error({ reason: message }, 'cannot accept connections'));
    }
    const setTls = (pair: TlsPair): void => {
      const checked = checkedTls(pair);
      for (const { server } of servers) if (server instanceof TlsServer) server.setSecureContext(checked);
    };
    return {
      addresses,
      adminAddress,
      get linksFree() {
        return front.linksFree;
      },
      setTls,
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function createHttpServer({ tls }: RelayServerOptions, limits: RelayLimits, upgrades: UpgradeChoice): Server {
  const options = {
    IncomingMessage: upgrades.IncomingMessage,
    headersTimeout: limits.requestMs,
    requestTimeout: limits.requestMs,
    connectionsCheckingInterval: Math.min(LATE_CHECK_MS, limits.requestMs),
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  };
  if (tls === undefined) return createServer(options);
  // Its sockets may read into what a plain read of this process has left unused.
  expectPlainReads(false);
  return createTlsServer({ ...options, ...checkedTls(tls), handshakeTimeout: limits.requestMs });
}

/** Node takes an empty certificate, and would then fail in every handshake. */
function checkedTls(tls: TlsPair): TlsPair {
  try {
    const matches = new X509Certificate(tls.cert).checkPrivateKey(createPrivateKey(tls.key));
    if (!matches) throw new Error('they do not belong together');
    createSecureContext(tls);
  } catch (error) {
    throw new WstunError('bad-certificate', error instanceof Error ? error.message : '', { cause: error });
  }
  return tls;
}

/** What stands of one source. */
interface Standing {
  links: number;
  /** Of these, control links of exits. */
  controls: number;
  /** How many failures are forgiven, while there are any. */
  exit: Pace | undefined;
}

/** What all addresses share: the gate, the decoy, and the counts of connections and links. */
class Front {
  readonly pending: PendingSockets;
  private readonly options: RelayServerOptions;
  private readonly limits: RelayLimits;
  private readonly gate: Gate;
  private readonly decoy: Decoy;
  private readonly acceptor: WebSocketAcceptor = createWebSocketAcceptor();
  private readonly penalties = new SourcePenalties();
  private readonly refusals: RefusalLog;
  private readonly verdicts = new WeakMap<IncomingMessage, GateDecision>();
  private readonly sourceOf: (address: string | undefined) => string | undefined;
  /** Sources of the links that stand. */
  private readonly standing = new Map<string, Standing>();
  private isSettled: boolean;
  private links = 0;
  /** One for all links: they are many, and most are idle. */
  private readonly onLinkClosed = (): void => {
    this.links -= 1;
  };

  constructor(options: RelayServerOptions, limits: RelayLimits) {
    this.options = options;
    this.limits = limits;
    this.gate = new Gate(options.tickets, options.path);
    this.refusals = new RefusalLog(options.logger, options.path);
    this.decoy = options.decoy ?? notFoundDecoy;
    this.sourceOf = limits.pendingPerSource === 0 ? () => undefined : (options.sourceOf ?? sourceOf);
    const bounds = { total: limits.pendingSockets, perSource: limits.pendingPerSource };
    this.isSettled = options.settled === undefined;
    void options.settled?.then(() => {
      this.isSettled = true;
    });
    this.pending = new PendingSockets(bounds, (source, wasDropped) => this.punish(source, wasDropped));
  }

  get linksFree(): number {
    return this.limits.links - this.links;
  }

  /** Answers nothing that node would answer by itself: see decoy.ts. */
  attach(server: Server, upgrades: UpgradeChoice): void {
    // Node serves a connection from its own listeners: they are asked when there is a place for it.
    const serve = server.listeners('connection');
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) =>
      this.handleConnection(socket, () => {
        for (const listener of serve) listener.call(server, socket);
      }),
    );
    upgrades.attach(server, (request) => this.verdictOn(request).admitted !== undefined);
    server.on('request', (request, response) => this.handleRequest(request, response));
    server.on('upgrade', (request, socket, head) =>
      afterAnswers(request.socket, () => this.handleUpgrade(request, socket, head)),
    );
    server.on('clientError', (error, socket) => {
      if (socket instanceof Socket && !this.pending.isRestricted(socket)) answerUnreadable(error, socket);
      else socket.destroy();
    });
  }

  /**
   * Of an address that knocks too often few are heard, slowly, and those without a ticket in vain: it was a firewall,
   * for all they know.
   */
  private handleConnection(socket: Socket, begin: () => void): void {
    const source = this.sourceOf(socket.remoteAddress);
    const isExit = source !== undefined && this.standing.get(source)?.exit !== undefined;
    const isBlocked = source !== undefined && this.penalties.isBlocked(source, performance.now());
    const mayBegin = isBlocked && { mayBegin: (now: number) => this.penalties.mayKnock(source, now) };
    this.pending.add(socket, { source, isExit, ...mayBegin }, () => this.whenSettled(socket, begin));
  }

  /** While keys are still being taken up nobody is read: a peer is not refused as a stranger. */
  private whenSettled(socket: Socket, begin: () => void): void {
    if (this.isSettled) return begin();
    const ignore = (): void => {};
    socket.on('error', ignore);
    void this.options.settled?.then(() => {
      socket.off('error', ignore);
      if (!socket.destroyed) begin();
    });
  }

  /**
   * @param wasDropped here, where others waited: of an address with links it was one of too many in a crowd, or on a
   * bad line
   */
  private punish(source: string, wasDropped: boolean): void {
    const standing = this.standing.get(source);
    const now = performance.now();
    if (standing !== undefined && (wasDropped || standing.exit?.take(now) === true)) return;
    const penaltyMs = this.penalties.fail(source, now);
    if (penaltyMs > 0)
      this.options.logger.info(
        { source, penaltyMs },
        'this address opens unauthenticated connections too often; it must wait',
      );
  }

  /** An upgrade that is let in. */
  private handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { admitted } = this.verdictOn(request);
    if (admitted === undefined) socket.destroy();
    else this.accept(request, socket, head, admitted);
  }

  /** Anything else. It may have been an upgrade before it passed a front end. */
  private handleRequest(request: IncomingMessage, response: ServerResponse): void {
    const verdict = this.verdictOn(request);
    this.refuse(request, response, verdict.admitted === undefined ? verdict : NOT_AN_UPGRADE);
  }

  /** A ticket is used up by being judged: once for each request. */
  private verdictOn(request: IncomingMessage): GateDecision {
    const known = this.verdicts.get(request);
    if (known !== undefined) return known;
    const verdict = this.gate.judge(request, Date.now(), this.links >= this.limits.links);
    this.verdicts.set(request, verdict);
    return verdict;
  }

  /**
   * From here to the socket's end it counts as a link, so that no link is counted as gone while it still holds memory.
   */
  private accept(request: IncomingMessage, socket: Duplex, head: Buffer, admitted: Admitted): void {
    this.pending.release(request.socket);
    const source = this.sourceOf(request.socket.remoteAddress);
    if (source !== undefined) this.noteLink(source, socket, admitted);
    if (++this.links === this.limits.links) {
      this.options.logger.warn({ links: this.links }, 'the relay is at its maximum number of links');
    }
    socket.on('close', this.onLinkClosed);
    this.acceptor.accept(request, socket, head).then(
      (link) => this.options.onLink(link, admitted),
      (error: unknown) => {
        socket.destroy();
        const reason = error instanceof Error ? error.message : String(error);
        this.options.logger.debug({ peer: admitted.peer, reason }, 'a link was lost before it was open');
      },
    );
  }

  /** While a control link stands, its address is no stranger's: an exit dials for each of its clients. */
  private noteLink(source: string, socket: Duplex, { role, destination }: Admitted): void {
    this.penalties.clear(source);
    const standing = this.standing.get(source) ?? { links: 0, controls: 0, exit: undefined };
    this.standing.set(source, standing);
    const controls = role === 'exit' && destination === '' ? 1 : 0;
    standing.links += 1;
    standing.controls += controls;
    if (standing.controls > 0) standing.exit ??= new Pace(EXIT_FAILURES, performance.now());
    socket.once('close', () => {
      standing.links -= 1;
      standing.controls -= controls;
      if (standing.controls === 0) standing.exit = undefined;
      if (standing.links === 0) this.standing.delete(source);
    });
  }

  private refuse(request: IncomingMessage, response: ServerResponse, refused: Refused): void {
    const remote = request.socket.remoteAddress;
    this.refusals.note(refused, remote, performance.now());
    const source = this.sourceOf(remote);
    // A proof is given for a new ticket alone: somebody whom we know is there, as where a link opens.
    if (refused.etag !== undefined && source !== undefined) this.penalties.clear(source);
    // Of an address that knocks too often nobody else hears anything: it cannot be told from what is closed unread.
    if (refused.etag === undefined && this.pending.isRestricted(request.socket)) request.socket.destroy();
    else answer(request, response, this.decoy, refused.etag);
  }
}

/** Node and the gate agree on what an upgrade is; if they did not, no link could be made of it. */
const NOT_AN_UPGRADE: Refused = { admitted: undefined, reason: 'no-ticket' };
