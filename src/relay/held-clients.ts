/** Clients held until their exit has dialled back, with the token of the request (docs/protocol.md §11) for each. */
import { randomBytes } from 'node:crypto';
import type { Clock, Timer } from '../clock.ts';
import type { Logger } from '../observability/logger.ts';
import type { ControlLink } from '../transport/control-link.ts';
import type { Message, MessageLink, MessageLinkHandler } from '../transport/message-link.ts';
import { hasShare, LINKS_PER_CLIENT } from './link-quotas.ts';
import type { Rejections } from './rejections.ts';
import type { CallEnd, RendezvousCounts } from './rendezvous-counts.ts';
import { RendezvousQueue } from './rendezvous-queue.ts';
import type { Splices } from './splices.ts';

export interface HeldClientLimits {
  /** From a client's link to the data link that answers it, ms. */
  readonly answerMs: number;
  /** Requests that one exit has not answered yet. */
  readonly requestsPerExit: number;
  /** Held clients in all, their requests sent or queued. */
  readonly heldClients: number;
}

export const DEFAULT_HELD_CLIENT_LIMITS: HeldClientLimits = {
  // Two round trips, and a TLS handshake on a bad line. Below the 10 s of a client's handshake, so that it hears why.
  answerMs: 8_000,
  // At 100 ms an answer, 1,280 clients a second: half of what an exit dials at once, so that other requests find room.
  requestsPerExit: 128,
  // A thousand clients of each of a few exits come back at once. Each holds a link, and 300 bytes here.
  heldClients: 4_096,
};

export interface HeldClientOptions {
  readonly limits: HeldClientLimits;
  readonly splices: Splices;
  readonly rejections: Rejections;
  /** Links that the relay can still accept. */
  readonly linksFree: () => number;
  /** So many of them are for new sessions: further links of sessions leave them free. */
  readonly linksKept: () => number;
  readonly logger: Logger;
  readonly counts: RendezvousCounts;
  /** As of Rendezvous. */
  readonly tokenPrefix: string;
  readonly clock: Clock;
}

/** docs/protocol.md §11. */
const TOKEN_BYTES = 16;

/** A held client, and the request that its exit gets. */
interface RendezvousRequest {
  readonly clients: ExitClients;
  readonly client: MessageLink;
  readonly peer: string;
  /** What the client sent before the pause took effect: one read at most. */
  readonly early: Message[];
  expiry: Timer | undefined;
  /** Undefined until the request is sent. */
  token: string | undefined;
  sentAt: number;
  /** The client has gone. The exit already has the request, and dials all the same. */
  isAbandoned: boolean;
}

/** The held clients of one exit. */
export interface ExitClients {
  readonly exit: string;
  readonly queue: RendezvousQueue<RendezvousRequest>;
  /** Sent and queued. */
  readonly requests: Set<RendezvousRequest>;
  /** Where requests are sent; undefined while the exit is not registered here. */
  control: ControlLink | undefined;
  /** Where requests are sent without it: to the other nodes, if there may be any. */
  readonly callElsewhere: ((token: string) => void) | undefined;
  nextTurn: Timer | undefined;
}

export class HeldClients {
  /** Requests that were sent, by token. */
  private readonly sent = new Map<string, RendezvousRequest>();
  /** Requests of all exits, those included whose clients have gone. */
  private count = 0;

  constructor(private readonly options: HeldClientOptions) {}

  /** Those included whose exit dials although they have gone. */
  get size(): number {
    return this.count;
  }

  /** @param callElsewhere as of ExitClients */
  addExit(exit: string, callElsewhere?: (token: string) => void): ExitClients {
    const { requestsPerExit, heldClients } = this.options.limits;
    const limits = { requested: requestsPerExit, waiting: Math.ceil(heldClients / 2) };
    const queue = new RendezvousQueue<RendezvousRequest>(limits);
    return { exit, queue, requests: new Set(), control: undefined, callElsewhere, nextTurn: undefined };
  }

  /** Whether that exit has a request with this token, and has not answered it yet. */
  isRequested(exit: string, token: string): boolean {
    return this.sent.get(token)?.clients.exit === exit;
  }

  /** Holds the client's link, or rejects it. @param isFurther it is one more of a session that has one already */
  hold(clients: ExitClients, client: MessageLink, peer: string, isFurther: boolean): void {
    const { limits, rejections } = this.options;
    if (!this.hasLinks(clients, isFurther))
      return rejections.rejectOverloaded(client, peer, 'its exit already uses its share of the links');
    const unsent = { early: [], expiry: undefined, token: undefined, sentAt: 0, isAbandoned: false };
    const request: RendezvousRequest = { clients, client, peer, ...unsent };
    // One exit gets half of the room, so that there is always some for others.
    const hasRoom = clients.requests.size < limits.heldClients - this.count;
    if (!hasRoom || !clients.queue.join(peer, request, this.options.clock.now(), isFurther))
      return rejections.rejectOverloaded(client, peer, 'too many clients wait for this exit');
    clients.requests.add(request);
    this.count += 1;
    request.expiry = this.options.clock.setTimeout(() => this.expire(request), limits.answerMs);
    client.pause();
    client.setHandler(new HeldClient(request, () => this.abandon(request)));
    this.sendNext(clients);
  }

  /** Sends the exit as many requests as have a turn, and continues when the next one has. */
  sendNext(clients: ExitClients): void {
    const { queue, control, callElsewhere } = clients;
    this.options.clock.clearTimeout(clients.nextTurn);
    if (control === undefined && callElsewhere === undefined) return;
    const now = this.options.clock.now();
    for (let request = queue.next(now); request !== undefined; request = queue.next(now)) {
      const token = this.newToken();
      request.token = token;
      request.sentAt = now;
      this.sent.set(token, request);
      if (control === undefined) callElsewhere?.(token);
      else control.send({ type: 'call', token });
    }
    const waitMs = queue.waitMs(now);
    if (waitMs === undefined) return;
    clients.nextTurn = this.options.clock.setTimeout(() => this.sendNext(clients), Math.max(1, waitMs)).unref();
  }

  /** The exit has dialled back. */
  answer(link: MessageLink, exit: string, token: string): void {
    const request = this.sent.get(token);
    if (request?.clients.exit !== exit) return this.options.rejections.rejectAnswer(link, exit);
    this.settle(request, 'answered');
    if (request.isAbandoned) this.options.rejections.rejectAnswer(link, exit);
    else this.splice(request, link);
    this.sendNext(request.clients);
  }

  /** The other nodes could not have the exit dial back. */
  rejectCall(token: string, outcome: 'absent' | 'unreachable'): void {
    const request = this.sent.get(token);
    if (request === undefined) return;
    this.settle(request, outcome);
    const reason = outcome === 'absent' ? undefined : 'its exit cannot be reached from here';
    if (!request.isAbandoned) this.options.rejections.rejectAbsent(request.client, request.peer, reason);
    this.sendNext(request.clients);
  }

  /** The exit has disconnected. */
  rejectAll(clients: ExitClients): void {
    for (const { client, peer } of this.settleAll(clients))
      this.options.rejections.rejectAbsent(client, peer, 'its exit disconnected');
  }

  /** This relay stops. */
  closeAll(clients: ExitClients): void {
    for (const { client } of this.settleAll(clients)) this.options.rejections.closeGoingAway(client);
  }

  private newToken(): string {
    const { tokenPrefix } = this.options;
    return tokenPrefix + randomBytes(TOKEN_BYTES).toString('hex').slice(tokenPrefix.length);
  }

  /** The data links that held clients are still to get count as taken. */
  private hasLinks({ exit, requests }: ExitClients, isFurther: boolean): boolean {
    const { splices, linksFree, linksKept } = this.options;
    const held = 1 + LINKS_PER_CLIENT * (requests.size + splices.countOf(exit));
    return hasShare(held, linksFree() - this.count - (isFurther ? linksKept() : 0));
  }

  /** The client has gone. The slot at its exit stays taken until that has answered: it still dials. */
  private abandon(request: RendezvousRequest): void {
    if (request.token === undefined) this.settle(request, 'dropped');
    request.isAbandoned = true;
  }

  private expire(request: RendezvousRequest): void {
    const { clients, client, peer, token, sentAt, isAbandoned } = request;
    const { limits, rejections } = this.options;
    this.settle(request, 'unanswered');
    this.sendNext(clients);
    if (isAbandoned) return;
    // An exit that got the request late had no time to answer.
    const wasLate = token === undefined || this.options.clock.now() - sentAt < limits.answerMs / 2;
    if (wasLate) rejections.rejectOverloaded(client, peer, 'the exit could not be asked in time');
    else rejections.rejectAbsent(client, peer, 'its exit did not answer');
  }

  /** The requests whose clients are still there; all are over. */
  private settleAll(clients: ExitClients): RendezvousRequest[] {
    this.options.clock.clearTimeout(clients.nextTurn);
    const requests = [...clients.requests];
    for (const request of requests) this.settle(request, 'dropped');
    return requests.filter(({ isAbandoned }) => !isAbandoned);
  }

  /** The request is over: its slot, token and timer are free. One that was not sent is no call. */
  private settle(request: RendezvousRequest, end: CallEnd): void {
    const { clients, token, peer, sentAt } = request;
    this.options.clock.clearTimeout(request.expiry);
    if (token !== undefined) this.sent.delete(token);
    if (!clients.requests.delete(request)) return;
    this.count -= 1;
    if (token === undefined) return clients.queue.leave(peer, request);
    clients.queue.answered(peer);
    this.options.counts.noteCall(end, this.options.clock.now() - sentAt);
  }

  private splice({ clients: { exit }, client, peer, early }: RendezvousRequest, link: MessageLink): void {
    const { logger, splices } = this.options;
    const since = this.options.clock.now();
    logger.info({ exit, peer, remote: client.remote }, 'a client was connected to its exit');
    for (const message of early) link.send(message);
    splices.join({ exit, peer }, client, link, () => {
      const seconds = Math.round((this.options.clock.now() - since) / 1000);
      logger.info({ exit, peer, remote: client.remote, seconds }, 'a client was disconnected from its exit');
    });
  }
}

class HeldClient implements MessageLinkHandler {
  constructor(
    private readonly request: Pick<RendezvousRequest, 'early'>,
    readonly handleClose: () => void,
  ) {}

  handleMessage(message: Message): void {
    this.request.early.push(message);
  }

  handleDrain(): void {}
}
