/**
 * By what a page opens the next link: a WebSocket, or, where none gets through, HTTP requests. Remembers which did. An
 * HTTP link costs more, so it begins only when the WebSocket has failed, or is slow.
 */
import { AbortableWait } from '../../async/abortable.ts';
import type { Clock } from '../../clock.ts';
import { type FaultName, WstunError } from '../../errors.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { SOCKET_BLOCKED_MS, SOCKET_SILENT_MS, SOCKET_SLOW_MS } from './tether-limits.ts';

export interface PageCarriers<L> {
  bySocket(signal: AbortSignal): Promise<L>;
  byRequests(signal: AbortSignal): Promise<L>;
}

export class PageCarrierChoice {
  /** Until then no WebSocket gets through. */
  private blockedUntil = Number.NEGATIVE_INFINITY;

  constructor(private readonly clock: Clock) {}

  /**
   * @param refused the fault of a WebSocket that something answered, but not by opening it
   * @throws WstunError of `bySocket`; where that was not tried, of `byRequests`
   */
  async dial<L extends MessageLink>(carriers: PageCarriers<L>, refused: FaultName, signal: AbortSignal): Promise<L> {
    if (this.clock.now() >= this.blockedUntil) return this.race(carriers, refused, signal);
    try {
      return await carriers.byRequests(signal);
    } catch (error) {
      this.blockedUntil = Number.NEGATIVE_INFINITY;
      throw error;
    }
  }

  /** A WebSocket has ended that opened and then carried nothing. @param livedMs since it opened */
  noteSilent(livedMs: number): void {
    if (livedMs >= SOCKET_SILENT_MS) this.noteBlocked();
  }

  private noteBlocked(): void {
    this.blockedUntil = this.clock.now() + SOCKET_BLOCKED_MS;
  }

  private async race<L extends MessageLink>(
    { bySocket, byRequests }: PageCarriers<L>,
    refused: FaultName,
    signal: AbortSignal,
  ): Promise<L> {
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    const faults: { socket?: unknown; requests?: unknown } = {};
    const wait = new AbortableWait<L>({ clock: this.clock, signal, onSettled: () => over.abort() });
    const win = (link: L): void => (wait.isOver ? link.abort() : wait.resolve(link));
    let hasBegun = false;
    const begin = (): void => {
      if (hasBegun || wait.isOver) return;
      hasBegun = true;
      const handleLink = (link: L): void => {
        if (!wait.isOver) this.noteBlocked();
        win(link);
      };
      byRequests(both).then(handleLink, (error: unknown) => {
        faults.requests = error;
        if (faults.socket !== undefined) wait.reject(faults.socket);
      });
    };
    const slow = this.clock.setTimeout(begin, SOCKET_SLOW_MS);
    bySocket(both).then(win, (error: unknown) => {
      faults.socket = error;
      if (faults.requests !== undefined || (!hasBegun && !mayRequestsHelp(error, refused))) return wait.reject(error);
      begin();
    });
    try {
      return await wait.promise;
    } finally {
      this.clock.clearTimeout(slow);
    }
  }
}

/** Where nothing answers at all, requests are not answered either. */
function mayRequestsHelp(error: unknown, refused: FaultName): boolean {
  return error instanceof WstunError && (error.fault === refused || error.fault === 'link-slow');
}
