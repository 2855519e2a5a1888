/** An HTTP link (docs/protocol.md §1.4) whose requests a page makes. */
import { AbortableWait } from '../../async/abortable.ts';
import type { Clock } from '../../clock.ts';
import { type FaultName, WstunError } from '../../errors.ts';
import { HttpClientLink, type HttpClientOptions } from '../../transport/http/http-client-link.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { PageRequester, type PageRequesterEvents } from './page-requester.ts';
import { OPEN_LIMIT_MS } from './tether-limits.ts';

/** A fresh ticket for an HTTP link, and the key of its further requests. */
export interface HttpTicket {
  /** `ws:` or `wss:`, the ticket last in its path. */
  readonly url: string;
  /** Seals the payload of a further request into a path segment. */
  readonly seal: (payload: Uint8Array) => string;
}

export class PageHttpLink extends HttpClientLink {
  constructor(
    options: HttpClientOptions,
    /** The URL of the ticket. */
    readonly asked: string,
  ) {
    super(options);
  }
}

export interface PageHttpOptions extends PageRequesterEvents {
  readonly remote: string;
  readonly clock: Clock;
  /** Where the relay answers otherwise. */
  readonly refused: FaultName;
  /** In the turn in which it is open. */
  onOpen(link: PageHttpLink): void;
}

/**
 * Takes the handler of the local connection. The link's handler must be set in the turn in which it resolves.
 * @throws WstunError `refused`, link-slow, dial-cancelled
 */
export async function openPageHttpLink(
  local: MessageLink,
  { url, seal }: HttpTicket,
  { remote, clock, refused, onOpen, ...events }: PageHttpOptions,
  signal: AbortSignal,
): Promise<PageHttpLink> {
  const requester = new PageRequester(local, events);
  const web = url.replace(/^ws/, 'http');
  const base = web.slice(0, web.lastIndexOf('/') + 1);
  const wait = new AbortableWait<PageHttpLink>({
    clock,
    signal,
    limitMs: OPEN_LIMIT_MS,
    onExpired: () => wait.reject(new WstunError('link-slow')),
  });
  const link = new PageHttpLink(
    {
      requester,
      clock,
      openingUrl: web,
      urlOf: (payload) => `${base}${seal(payload)}`,
      remote,
      onOpen: () => {
        onOpen(link);
        wait.resolve(link);
      },
      onFault: () => wait.reject(new WstunError(refused)),
    },
    url,
  );
  try {
    return await wait.promise;
  } catch (error) {
    link.cancel();
    requester.abort();
    throw error;
  }
}
