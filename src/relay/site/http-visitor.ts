/** Visitors' connections that Node's HTTP server serves, from a directory. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Visitor, Visitors } from './visitors.ts';

/**
 * Of one connection, answered at the same time. Answers leave in the order of their requests, so that more would not be
 * sooner.
 */
const MAX_ANSWERED = 4;
/** Requests that wait, of all connections: 3 KB each. Node reads on, however many wait. */
const MAX_WAITING = 8_192;
/** While there are so many, a connection on which more than this wait is closed. */
const FAIR_WAITING = 8;

/** Requests of all visitors that wait. */
interface WaitingRequests {
  count: number;
}

/** All of them. */
export class HttpVisitors {
  private readonly bySocket = new WeakMap<Socket, HttpVisitor>();
  private readonly waiting: WaitingRequests = { count: 0 };

  constructor(private readonly visitors: Visitors) {}

  /** @param respond is called when there is room, and the requests before it are answered or will be soon */
  serve(socket: Socket, source: string | undefined, response: ServerResponse, respond: () => void): void {
    const visitor = this.bySocket.get(socket) ?? new HttpVisitor(socket, source, this.visitors, this.waiting);
    this.bySocket.set(socket, visitor);
    visitor.serve(response, respond);
  }

  /** The connection carries a link, until it brings another request of a stranger. */
  leave(socket: Socket): void {
    this.bySocket.get(socket)?.leave();
  }
}

class HttpVisitor implements Visitor {
  private hasEntered = false;
  private isPresent = false;
  /** Responses that are begun and not complete. */
  private answered = 0;
  private waiting: { readonly response: ServerResponse; readonly respond: () => void }[] = [];

  constructor(
    private readonly socket: Socket,
    readonly source: string | undefined,
    private readonly visitors: Visitors,
    private readonly all: WaitingRequests,
  ) {
    socket.once('close', () => {
      all.count -= this.waiting.length;
      this.waiting = [];
      this.leave();
    });
  }

  get isBusy(): boolean {
    return this.answered + this.waiting.length > 0;
  }

  serve(response: ServerResponse, respond: () => void): void {
    // The rest of what had been read.
    if (this.socket.destroyed) return;
    this.waiting.push({ response, respond });
    this.all.count += 1;
    if (this.all.count > MAX_WAITING && this.waiting.length > FAIR_WAITING) return this.drop();
    if (this.isPresent) this.begin();
    else if (!this.hasEntered) this.enter();
  }

  leave(): void {
    this.hasEntered = false;
    this.isPresent = false;
    this.visitors.leave(this);
  }

  begin(): void {
    this.isPresent = true;
    this.visitors.touch(this);
    while (this.answered < MAX_ANSWERED) {
      const next = this.waiting.shift();
      if (next === undefined) return;
      this.all.count -= 1;
      this.answered += 1;
      next.response.once('close', () => this.handleAnswered());
      next.respond();
    }
  }

  drop(): void {
    this.socket.destroy();
  }

  private handleAnswered(): void {
    this.answered -= 1;
    if (this.isPresent) this.begin();
  }

  private enter(): void {
    this.hasEntered = true;
    this.visitors.enter(this);
  }
}
