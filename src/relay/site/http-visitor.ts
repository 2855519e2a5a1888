/** A visitor's connection that Node's HTTP server serves, from a directory. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Visitor, Visitors } from './visitors.ts';

export class HttpVisitor implements Visitor {
  private isPresent = false;
  /** Responses that are not complete. */
  private open = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly socket: Socket,
    readonly source: string | undefined,
    private readonly visitors: Visitors,
  ) {
    socket.once('close', () => visitors.leave(this));
    visitors.enter(this);
  }

  get isBusy(): boolean {
    return this.open > 0;
  }

  /** @param respond is called when there is room */
  serve(response: ServerResponse, respond: () => void): void {
    this.open += 1;
    this.visitors.touch(this);
    response.once('close', () => {
      this.open -= 1;
      this.visitors.touch(this);
    });
    if (this.isPresent) respond();
    else this.waiting.push(respond);
  }

  /** The connection has become a link. */
  leave(): void {
    this.visitors.leave(this);
  }

  begin(): void {
    this.isPresent = true;
    for (const respond of this.waiting.splice(0)) respond();
  }

  drop(): void {
    this.socket.destroy();
  }
}
