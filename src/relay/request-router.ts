/** The connections of all addresses: the gate decides which requests become links, the decoy answers the others. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { type Server as NetServer, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { type Clock, systemClock } from '../clock.ts';
import { decodeSegment, type HttpLinkKey } from '../crypto/ticket.ts';
import type { Histogram } from '../observability/histogram.ts';
import type { Logger } from '../observability/logger.ts';
import type { Tally } from '../observability/tally.ts';
import type { MessageLink } from '../transport/message-link.ts';
import { WebSocketAcceptor } from '../transport/websocket/websocket-accept.ts';
import { afterResponses, type Decoy, noteResponse, notFoundDecoy, respond, respondUnreadable } from './decoy.ts';
import { Draining, refuse } from './draining.ts';
import { type Admitted, Gate, type GateDecision, type Refused, type Tickets, type UpgradeRequest } from './gate.ts';
import { type FoundRequest, HttpLinks } from './http-links.ts';
import { limitBody } from './late-body.ts';
import { type LinkKind, OpenLinks } from './open-links.ts';
import type { OtherNodes, PassedUpgrade, TicketClaims } from './other-nodes.ts';
import { PendingSockets, type Treatment } from './pending-sockets.ts';
import { ClientAddresses, formatRemote } from './proxies/client-addresses.ts';
import { TrustedProxies } from './proxies/trusted-proxies.ts';
import { RefusalLog } from './refusal-log.ts';
import type { RelayLimits } from './relay-limits.ts';
import type { SharedLoad } from './shared-load.ts';
import { HttpVisitors } from './site/http-visitor.ts';
import type { RequestHead } from './site/request-scanner.ts';
import type { HeadDecision } from './site/site-connection.ts';
import { type SiteAddress, SiteUpstream } from './site/site-upstream.ts';
import { Suspects } from './site/suspects.ts';
import { Visitors } from './site/visitors.ts';
import { attachSite, requestOf, TakenRequests } from './site-front.ts';
import { sourceOf } from './source-limits.ts';
import { SourceTracker } from './source-tracker.ts';
import type { TlsChallenges } from './tls-challenges.ts';
import type { UpgradeChoice } from './upgrade-choice.ts';
import { UpgradeClaims, type UsedTicket } from './upgrade-claims.ts';

/** Longer than a site takes to answer. */
const LATE_NOTE_MS = 50;
/** As many as are sought at once (peer-clock-search.ts). */
const MAX_LATE_CHECKS = 256;

/** Of tickets: they are the same whenever they come. */
const FINAL: ReadonlySet<Refused['reason']> = new Set(['replayed', 'forged', 'misdirected']);

export interface RequestRouterOptions {
  readonly tickets: Tickets;
  /** Only requests below this path (`parsePathPrefix`) become links; default: below any. */
  readonly path?: string;
  /** Until it resolves, keys are still being loaded and no connection is read. Default: all are known. */
  readonly settled?: Promise<void>;
  /** A link has opened; its handler must be set before the turn ends. */
  readonly onLink: (link: MessageLink, admitted: Admitted) => void;
  /** Of a relay that serves TLS: what a certificate authority asks. */
  readonly challenges?: TlsChallenges;
  /** What strangers see; default: a plain 404. */
  readonly decoy?: Decoy;
  /** The decoy is a site, whose visitors may stay: they get no penalties. */
  readonly hasVisitors?: boolean;
  /** Instead of a decoy: the server whose site strangers see. They are its visitors. */
  readonly upstream?: SiteAddress;
  /** Whose word counts about where requests come from; default: nobody's. */
  readonly trustProxy?: TrustedProxies;
  /** Their connections begin with a header of the PROXY protocol. */
  readonly proxyProtocol?: boolean;
  readonly logger: Logger;
  /** Counts requests that become no links, by reason. */
  readonly refusals?: Tally;
  /** Of checks of tickets. Default: they are not timed. */
  readonly ticketTime?: Histogram | undefined;
  /** Those on the same port. Default: there are none. */
  readonly others?: OtherNodes | undefined;
  /** Those that open the same tickets. Default: `others`. */
  readonly claims?: TicketClaims | undefined;
  /** What limits by address and the limit on links have in common with other nodes. Default: there are none. */
  readonly sharedLoad?: SharedLoad | undefined;
  /** Instead of `sourceOf`: what the limits by address go by; undefined is exempt. */
  readonly sourceOf?: (address: string | undefined) => string | undefined;
  readonly clock?: Clock;
}

/** What can change while it serves. */
export interface RouterUpdate extends Pick<RequestRouterOptions, 'decoy' | 'upstream'> {
  readonly trustProxy: TrustedProxies;
  /** As of RelayLimits. */
  readonly pendingPerSource: number;
}

/** What is open at the moment. */
export interface FrontReadings {
  readonly links: Readonly<Record<LinkKind, number>>;
  readonly linksLimit: number;
  /** Connections that are not links. */
  readonly pending: number;
}

export class RequestRouter {
  readonly pending: PendingSockets;
  private readonly clock: Clock;
  private readonly gate: Gate;
  private readonly acceptor = new WebSocketAcceptor();
  private readonly httpLinks: HttpLinks;
  private readonly taken = new TakenRequests();
  private readonly draining = new Draining();
  private readonly sources: SourceTracker;
  private readonly refusals: RefusalLog;
  private readonly visitors: Visitors;
  private readonly addresses: ClientAddresses;
  /** Of a site. */
  private readonly suspects = new Suspects();
  /** Of a decoy that is a site. */
  private readonly httpVisitors: HttpVisitors | undefined;
  private readonly decisions = new WeakMap<IncomingMessage, GateDecision>();
  private isSettled: boolean;
  private decoy: Decoy;
  private site: SiteUpstream | undefined;
  private perSource: number;
  private readonly links: OpenLinks;
  private lateChecks = 0;

  constructor(
    private readonly options: RequestRouterOptions,
    private readonly limits: RelayLimits,
  ) {
    const { tickets, path, settled, logger, clock = systemClock } = options;
    this.clock = clock;
    this.links = new OpenLinks(options.sharedLoad);
    this.gate = new Gate(tickets, path);
    this.refusals = new RefusalLog(logger, path, options.refusals);
    this.decoy = options.decoy ?? notFoundDecoy;
    this.perSource = limits.pendingPerSource;
    const usual = options.sourceOf ?? sourceOf;
    const trackedSourceOf = (address: string | undefined) => (this.perSource === 0 ? undefined : usual(address));
    this.sources = new SourceTracker(trackedSourceOf, logger, clock, options.sharedLoad);
    const onCarrying = (socket: Socket): void => this.keepApart(socket);
    const onKnown = (id: bigint, key?: HttpLinkKey): void => options.others?.noteHttpLink(id, key);
    this.httpLinks = new HttpLinks({ clock, mostLinks: limits.links, onCarrying, onKnown });
    options.others?.setRequestHandler((request, response) => this.serveForwarded(request, response));
    options.others?.setUpgradeHandler((socket, upgrade) => this.acceptPassed(socket, upgrade));
    this.isSettled = settled === undefined;
    void settled?.then(() => {
      this.isSettled = true;
    });
    this.visitors = new Visitors(limits.visitors, clock);
    const { trustProxy = new TrustedProxies([]), proxyProtocol = false } = options;
    this.addresses = new ClientAddresses(trustProxy, proxyProtocol, clock);
    this.httpVisitors = options.hasVisitors === true ? new HttpVisitors(this.visitors) : undefined;
    const isSite = this.httpVisitors !== undefined || options.upstream !== undefined;
    const { pendingSockets: total, pendingPerSource: perSource } = limits;
    this.pending = new PendingSockets(
      // A site serves whoever comes, in whatever number, as long as it can.
      { total, perSource, fairFrom: isSite ? total / 2 : 0 },
      (source, wasDropped) => {
        if (!isSite && !this.draining.isOn) this.sources.noteFailure(source, wasDropped);
      },
      clock,
    );
  }

  /** For new connections and requests. */
  update({ decoy = notFoundDecoy, upstream, trustProxy, pendingPerSource }: RouterUpdate): void {
    this.decoy = decoy;
    if (upstream !== undefined) this.site?.moveTo(upstream);
    this.addresses.trust(trustProxy);
    this.perSource = pendingPerSource;
    this.pending.setPerSource(pendingPerSource);
  }

  private get claims(): TicketClaims | undefined {
    return this.options.claims ?? this.options.others;
  }

  get linksFree(): number {
    return this.limits.links - this.links.size - (this.options.sharedLoad?.otherLinks ?? 0);
  }

  get readings(): FrontReadings {
    return { links: this.links.counts, linksLimit: this.limits.links, pending: this.pending.size };
  }

  /** Answers nothing that Node would answer on its own: see decoy.ts. */
  attach(server: Server, upgrades: UpgradeChoice): void {
    // Node serves a connection from its own listeners: they are called when there is a slot for it.
    const serve = server.listeners('connection');
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) =>
      this.handleConnection(socket, () => {
        for (const listener of serve) listener.call(server, socket);
      }),
    );
    upgrades.attach(server, (request) => !this.draining.isOn && isForWebSocket(this.decide(request)));
    server.on('request', (request, response) => this.handleRequest(request, response));
    const claims = new UpgradeClaims(server, serve, this.claims);
    server.on('upgrade', (request, socket, head) =>
      afterResponses(request.socket, () =>
        claims.settle(request, socket, head, this.usedIn(request, this.decide(request).admitted), () =>
          this.handleUpgrade(request, socket, head),
        ),
      ),
    );
    server.on('clientError', (error, socket) => this.handleUnreadable(error, socket));
  }

  /** For a server that reads nothing itself. */
  attachUpstream(server: NetServer, upstream: SiteAddress): void {
    this.site ??= new SiteUpstream(upstream, this.options.logger, this.clock);
    attachSite(server, {
      handleConnection: (socket, begin) => this.handleConnection(socket, begin),
      decide: (head, socket) => this.decideHead(head, socket),
      isSuspect: (head) => this.isSuspect(head),
      takeDraining: (socket) => this.takeDraining(socket),
      shared: { site: this.site, visitors: this.visitors, clock: this.clock },
      sourceOf: (socket) => this.treatmentOf(socket).source,
      handleVisitor: (socket) => this.pending.release(socket),
    });
  }

  /**
   * Closes all connections that are not links. From then on nothing but requests of open HTTP links is served.
   * @param onEnd none of these is left: at once, or later
   */
  drain(onEnd: () => void): void {
    this.draining.begin(this.httpLinks.size, onEnd);
    this.destroyAll();
  }

  /** Closes all connections that are not links. */
  destroyAll(): void {
    this.pending.destroyAll();
    this.visitors.dropAll();
  }

  private decideHead(head: RequestHead, socket: Socket): HeadDecision {
    const ticket = this.gate.ticketIn(head);
    if (ticket !== undefined && this.suspects.isFinal(ticket)) return { etag: undefined };
    if (ticket !== undefined && !this.mayBeKnown(ticket)) return this.noteUnknown(head, socket);
    const found = this.findLink(head);
    if (found !== undefined) return { take: (rest) => this.serveTaken(found, head, socket, rest) };
    if (this.nodeOf(head) !== undefined)
      return { take: (rest) => this.taken.serve(socket, head, rest, (...each) => void this.forward(...each)) };
    const decision = this.check(head);
    const { admitted } = decision;
    if (admitted?.httpLink !== undefined) {
      const open = (request: IncomingMessage, response: ServerResponse) =>
        this.claimOf(head, admitted, (isFirst) => {
          if (isFirst) this.openHttpLink(request, response, admitted);
          else socket.destroy();
        });
      return { take: (rest) => this.taken.serve(socket, head, rest, open) };
    }
    if (admitted !== undefined)
      return {
        take: (rest) =>
          this.claimOf(head, admitted, (isFirst) => {
            if (isFirst) this.accept(requestOf(socket, head), socket, rest, admitted);
            else socket.destroy();
          }),
      };
    this.noteRejected(head, socket, decision);
    return { etag: decision.etag };
  }

  /** It takes time to open, and will hardly be admitted. */
  private isSuspect(head: RequestHead): boolean {
    const ticket = this.gate.ticketIn(head);
    return ticket !== undefined && this.suspects.has(ticket);
  }

  private mayBeKnown(ticket: string): boolean {
    if (this.gate.mayAdmit(ticket, this.clock.wallTime()) || this.httpLinks.knowsId(ticket)) return true;
    return this.nodeOfSegment(ticket) !== undefined;
  }

  /** It cannot be admitted, but may be of a peer whose clock is wrong: the gate looks at it after the answer. */
  private noteUnknown(head: RequestHead, socket: Socket): HeadDecision {
    const { address } = this.addresses.ofRequest(socket, head.headers);
    if (this.lateChecks >= MAX_LATE_CHECKS) return { etag: undefined };
    this.lateChecks += 1;
    const check = (): void => {
      this.lateChecks -= 1;
      // By now it must not become a link.
      const decision = this.gate.check({ ...head, method: 'HEAD' }, this.clock.wallTime());
      if (decision.admitted === undefined) this.refusals.note(decision, address, this.clock.now());
    };
    this.clock.setTimeout(check, LATE_NOTE_MS).unref();
    return { etag: undefined };
  }

  private noteRejected(head: RequestHead, socket: Socket, refused: Refused): void {
    const ticket = this.gate.ticketIn(head);
    if (ticket !== undefined) this.suspects.add(ticket, FINAL.has(refused.reason));
    const { address } = this.addresses.ofRequest(socket, head.headers);
    const note = (): void => this.refusals.note(refused, address, this.clock.now());
    if (refused.peer === undefined) note();
    // Not now: to write a line takes longer than to look at a request, and could be measured.
    else this.clock.setTimeout(note, LATE_NOTE_MS).unref();
  }

  /** A request of a link. What its client never sends cannot go back to the upstream: it gets no answer. */
  private serveTaken(found: FoundRequest, head: RequestHead, socket: Socket, rest: Buffer): void {
    this.taken.serve(socket, head, rest, (request, response) => {
      if (!this.httpLinks.serve(found, request, response)) socket.destroy();
    });
  }

  private findLink(request: Pick<IncomingMessage, 'method' | 'url' | 'httpVersion' | 'headers'>) {
    const segment = this.gate.segmentOf(request);
    return segment === undefined ? undefined : this.httpLinks.find(segment, request.headers);
  }

  /** The other node that has the link of which this is a request. */
  private nodeOf(request: UpgradeRequest): string | undefined {
    const segment = this.options.others && this.gate.segmentOf(request);
    return segment === undefined ? undefined : this.nodeOfSegment(segment);
  }

  private nodeOfSegment(segment: string): string | undefined {
    const { others } = this.options;
    const sealed = others && decodeSegment(segment);
    const link = sealed && others?.httpLinkOf(sealed.id);
    return sealed !== undefined && link?.key.open(sealed) !== undefined ? link.node : undefined;
  }

  /** False: it is no request of another node's link. */
  private forward(request: IncomingMessage, response: ServerResponse): boolean {
    const node = this.nodeOf(request);
    if (node === undefined) return false;
    this.options.others?.forward(node, request, response, (isAnswered) => {
      if (isAnswered) this.keepApart(request.socket);
      else this.rejectAny(request, response, { admitted: undefined, reason: 'replayed' });
    });
    return true;
  }

  /** Of another node, which has asked, and which answers itself what is none of a link. */
  private serveForwarded(request: IncomingMessage, response: ServerResponse): void {
    const found = this.findLink(request);
    if (found === undefined || !this.httpLinks.serve(found, request, response)) response.writeHead(404).end();
  }

  /** It carries a request of a link: it is neither a pending connection nor a visitor's. */
  private keepApart(socket: Socket): void {
    this.pending.release(socket);
    this.httpVisitors?.leave(socket);
  }

  private takeDraining(socket: Socket): boolean {
    if (!this.draining.isOn) return false;
    this.draining.take(socket, (request, response) => this.handleRequest(request, response));
    return true;
  }

  private handleUnreadable(error: Error, socket: Duplex): void {
    if (this.draining.isOn) return refuse(socket);
    if (socket instanceof Socket && !this.pending.isRestricted(socket)) respondUnreadable(error, socket);
    else socket.destroy();
  }

  private handleConnection(socket: Socket, begin: () => void): void {
    const { challenges } = this.options;
    const serve = challenges === undefined ? begin : () => challenges.receive(socket, begin);
    this.addresses.receive(socket, () =>
      this.pending.add(socket, this.treatmentOf(socket), () => this.whenSettled(socket, serve)),
    );
  }

  /** A proxy's connections are not limited by its address: they are those of many. */
  private treatmentOf(socket: Socket): Treatment {
    if (this.addresses.isProxy(socket)) return { source: undefined };
    return this.sources.treatmentOf(this.addresses.ofConnection(socket).address);
  }

  /** While keys are still being loaded no connection is read: a peer must not be rejected as a stranger. */
  private whenSettled(socket: Socket, begin: () => void): void {
    if (this.isSettled) return begin();
    const ignore = (): void => {};
    socket.on('error', ignore);
    void this.options.settled?.then(() => {
      socket.off('error', ignore);
      if (!socket.destroyed) begin();
    });
  }

  /** An upgrade that the gate admitted. */
  private handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { admitted } = this.decide(request);
    if (admitted === undefined || this.draining.isOn) socket.destroy();
    else if (!this.passOn(request, socket, head, admitted)) this.accept(request, socket, head, admitted);
  }

  /** An exit's answer to a call of another node. Over TLS only this process can read the connection: its link goes. */
  private passOn(request: IncomingMessage, socket: Duplex, rest: Buffer, admitted: Admitted): boolean {
    const { others } = this.options;
    const { role, destination, rotationProof } = admitted;
    const isAnswer = role === 'exit' && destination !== '' && rotationProof === undefined;
    const node = isAnswer ? others?.nodeOfCall(destination) : undefined;
    if (node === undefined || !(socket instanceof Socket) || socket instanceof TLSSocket) return false;
    const remote = this.remoteOf(request);
    this.release(socket);
    others?.passUpgrade(node, socket, { head: headOf(request), rest, admitted, remote });
    return true;
  }

  private acceptPassed(socket: Socket, { head, rest, admitted, remote }: PassedUpgrade): void {
    if (this.draining.isOn) socket.destroy();
    else this.accept(requestOf(socket, head), socket, rest, admitted, remote);
  }

  /** It is a link's from now on. */
  private release(socket: Socket): void {
    this.pending.release(socket);
    this.httpVisitors?.leave(socket);
  }

  /** Anything else: of an HTTP link, or an upgrade before it passed a front end, or a stranger's. */
  private handleRequest(request: IncomingMessage, response: ServerResponse): void {
    const found = this.findLink(request);
    if (found !== undefined && this.httpLinks.serve(found, request, response)) return noteResponse(request, response);
    if (found === undefined && this.forward(request, response)) return noteResponse(request, response);
    if (this.draining.isOn) return refuse(request.socket);
    const decision = this.decide(request);
    const { admitted } = decision;
    if (admitted?.httpLink !== undefined)
      this.claimOf(request, admitted, (isFirst) => {
        if (isFirst) this.openHttpLink(request, response, admitted);
        else this.rejectAny(request, response, { admitted: undefined, reason: 'replayed', peer: admitted.peer });
      });
    else if (!this.httpLinks.isCarrying(request.socket)) this.rejectAny(request, response, decision);
    else this.takeBack(request.socket, () => this.rejectAny(request, response, decision));
  }

  /** Whether no other node has used the ticket of a request that was admitted here; calls back at once if alone. */
  private claimOf(request: UpgradeRequest, admitted: Admitted, act: (isFirst: boolean) => void): void {
    const used = this.usedIn(request, admitted);
    if (this.claims === undefined || used === undefined) act(true);
    else void this.claims.claim(used.nonce, used.audience).then(act);
  }

  /** For other nodes, where there are any. */
  private usedIn(request: UpgradeRequest, admitted: Admitted | undefined): UsedTicket | undefined {
    const nonce = this.claims && this.gate.nonceIn(request);
    return nonce === undefined ? undefined : { nonce, audience: admitted?.audience };
  }

  private rejectAny(request: IncomingMessage, response: ServerResponse, decision: GateDecision): void {
    this.reject(request, response, decision.admitted === undefined ? decision : NOT_AN_UPGRADE);
  }

  /** A front end sends requests of strangers, too, on a connection that carried some of a link. */
  private takeBack(socket: Socket, begin: () => void): void {
    this.httpLinks.release(socket);
    this.pending.add(socket, this.treatmentOf(socket), begin);
  }

  /** As `accept`: it is a link from here to its end. */
  private openHttpLink(request: IncomingMessage, response: ServerResponse, admitted: Admitted): void {
    noteResponse(request, response);
    const onSourceEnd = this.countLink(request, admitted);
    const onEnd = this.links.endOf(admitted);
    const link = this.httpLinks.open(request, response, admitted, this.remoteOf(request), () => {
      onSourceEnd?.();
      onEnd();
      this.draining.handleLinks(this.httpLinks.size);
    });
    this.options.onLink(link, admitted);
  }

  /** Returns what to call at its end, if anything. */
  private countLink(request: IncomingMessage, admitted: Admitted): (() => void) | undefined {
    const { role, destination } = admitted;
    this.links.add(admitted);
    if (this.linksFree === 0) {
      this.options.logger.warn({ links: this.limits.links }, 'the relay is at its maximum number of links');
    }
    const { address } = this.addresses.ofRequest(request.socket, request.headers);
    return this.sources.addLink(address, role === 'exit' && destination === '');
  }

  private remoteOf({ socket, headers }: IncomingMessage): string {
    return formatRemote(this.addresses.ofRequest(socket, headers));
  }

  /** Once for each request: the check uses the ticket up. */
  private decide(request: IncomingMessage): GateDecision {
    const known = this.decisions.get(request);
    if (known !== undefined) return known;
    const decision = this.check(request);
    this.decisions.set(request, decision);
    return decision;
  }

  /** If admitted, its ticket is used up. */
  private check(request: UpgradeRequest): GateDecision {
    const { ticketTime } = this.options;
    const since = ticketTime === undefined ? 0 : this.clock.now();
    const decision = this.gate.check(request, this.clock.wallTime(), this.linksFree <= 0);
    if (decision.admitted !== undefined || decision.reason !== 'no-ticket')
      ticketTime?.observe((this.clock.now() - since) / 1000);
    return decision;
  }

  /** A link from here to its socket's end, so that none is counted as gone while it still holds memory. */
  private accept(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    admitted: Admitted,
    remote = this.remoteOf(request),
  ): void {
    this.release(request.socket);
    const onEnd = this.countLink(request, admitted);
    if (onEnd !== undefined) socket.once('close', onEnd);
    socket.on('close', this.links.endOf(admitted));
    this.acceptor.accept(request, socket, head, undefined, remote).then(
      (link) => this.options.onLink(link, admitted),
      (error: unknown) => {
        socket.destroy();
        const reason = error instanceof Error ? error.message : String(error);
        this.options.logger.debug({ peer: admitted.peer, reason }, 'a link was lost before it was open');
      },
    );
  }

  private reject(request: IncomingMessage, response: ServerResponse, refused: Refused): void {
    const remote = this.addresses.ofRequest(request.socket, request.headers).address;
    const onLate = (error: Error): void => this.handleUnreadable(error, request.socket);
    limitBody(request, this.limits.requestMs, this.clock, onLate);
    this.refusals.note(refused, remote, this.clock.now());
    // Only a new ticket gets a proof: a known peer is there, as where a link opens.
    if (refused.etag !== undefined) this.sources.clearPenalties(remote);
    // A source under a penalty gets no other answer: it cannot be told from a connection that is closed unread.
    if (refused.etag === undefined && this.isRestricted(request.socket, remote)) request.socket.destroy();
    else {
      const { decoy } = this;
      this.visit(request.socket, response, () => respond(request, response, decoy, refused.etag));
    }
  }

  private isRestricted(socket: Socket, remote: string | undefined): boolean {
    if (this.pending.isRestricted(socket)) return true;
    return this.httpVisitors === undefined && this.addresses.isProxy(socket) && this.sources.noteRequest(remote);
  }

  private visit(socket: Socket, response: ServerResponse, act: () => void): void {
    if (this.httpVisitors === undefined) return act();
    this.pending.release(socket);
    this.httpVisitors.serve(socket, this.treatmentOf(socket).source, response, act);
  }
}

function headOf({ method = '', url = '', httpVersion, headers }: IncomingMessage): RequestHead {
  const texts = Object.entries(headers).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : []));
  return { method, url, httpVersion, headers: Object.fromEntries(texts) };
}

function isForWebSocket({ admitted }: GateDecision): boolean {
  return admitted !== undefined && admitted.httpLink === undefined;
}

/** Node and the gate agree on what an upgrade is; if they did not, no link could be made of it. */
const NOT_AN_UPGRADE: Refused = { admitted: undefined, reason: 'no-ticket' };
