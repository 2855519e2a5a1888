/** The first messages under a link's keys: which session the client begins or resumes (docs/protocol.md §10). */
import { type Clock, systemClock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import {
  decodeSessionAnswer,
  decodeSessionRequest,
  encodeSessionRequest,
  type SessionRequest,
} from '../../protocol/session-request.ts';
import type { LinkCloseReason } from '../../transport/message-link.ts';
import { LinkExchange } from './link-exchange.ts';
import type { SecureLink } from './secure-link.ts';

/** From the handshake to the message of the other side: one round trip, or less. */
const EXCHANGE_LIMIT_MS = 10_000;

const faultOfClose = ({ text }: LinkCloseReason): WstunError => new WstunError('link-lost', text);

export interface SessionExchangeOptions {
  readonly clock?: Clock | undefined;
  /** Default EXCHANGE_LIMIT_MS. */
  readonly limitMs?: number | undefined;
}

/**
 * The client's side; takes the link's handler. Resolves with what the exit has received, in the turn in which the next
 * handler is to be set. Rejects with the exit's reason, `link-lost`, `link-slow` or `dial-cancelled`; the link is
 * aborted.
 */
export function requestSession(
  link: SecureLink,
  request: SessionRequest,
  signal: AbortSignal,
  { clock = systemClock, limitMs = EXCHANGE_LIMIT_MS }: SessionExchangeOptions = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    const exchange: LinkExchange = new LinkExchange(
      link,
      { clock, signal, limitMs },
      {
        onMessage: (message) => {
          const answer = decodeSessionAnswer(message);
          if (answer === undefined) return exchange.fail(new WstunError('bad-record'));
          if ('fault' in answer) return exchange.fail(new WstunError(answer.fault));
          handOn(link, exchange);
          resolve(answer.received);
        },
        onFailed: reject,
        faultOfClose,
      },
    );
    if (!exchange.isOver) link.send([encodeSessionRequest(request)]);
  });
}

export interface RequestEvents {
  /** In the turn of the request; the link's handler is to be set in it. */
  onRequest(request: SessionRequest): void;
  /** Once, instead. The link is aborted. */
  onFailed(error: WstunError): void;
}

/** The exit's side; takes the link's handler. */
export function awaitRequest(link: SecureLink, events: RequestEvents, clock: Clock = systemClock): void {
  const exchange: LinkExchange = new LinkExchange(
    link,
    { clock, limitMs: EXCHANGE_LIMIT_MS },
    {
      onMessage: (message) => {
        const request = decodeSessionRequest(message);
        if (request === undefined) return exchange.fail(new WstunError('bad-record'));
        handOn(link, exchange);
        events.onRequest(request);
      },
      onFailed: (error) => events.onFailed(error),
      faultOfClose,
    },
  );
}

/** Records may follow in the same read: they are for the next handler. */
function handOn(link: SecureLink, exchange: LinkExchange): void {
  exchange.succeed();
  link.takeHandler();
}
