/** A visitor's connection that Node's HTTP server serves, from a directory. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Visitor, Visitors } from './visitors.ts';

export class HttpVisitor implements Visitor {
  private hasEntered = false;
  private isPresent = false;
  /** Responses that are not complete. */
  private open = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly socket: Socket,
    readonly source: string | undefined,
    private readonly visitors: Visitors,
  ) {
    socket.once('close', () => this.leave());
  }

  get isBusy(): boolean {
    return this.open > 0;
  }

  /** @param respond is called when there is room */
  serve(response: ServerResponse, respond: () => void): void {
    this.open += 1;
    response.once('close', () => {
      this.open -= 1;
      this.visitors.touch(this);
    });
    this.waiting.push(respond);
    if (this.isPresent) this.begin();
    else if (!this.hasEntered) this.enter();
  }

  /** The connection carries a link, until it brings another request of a stranger. */
  leave(): void {
    this.hasEntered = false;
    this.isPresent = false;
    this.visitors.leave(this);
  }

  begin(): void {
    this.isPresent = true;
    this.visitors.touch(this);
    for (const respond of this.waiting.splice(0)) respond();
  }

  drop(): void {
    this.socket.destroy();
  }

  private enter(): void {
    this.hasEntered = true;
    this.visitors.enter(this);
  }
}
