/**
 * The first word on a new link, when its keys stand: the client names the session that it begins or resumes, the exit
 * answers (docs/protocol.md §10). Knows no session: which there are is asked of the caller.
 */
import { WstunError } from '../../errors.ts';
import {
  decodeSessionAnswer,
  decodeSessionRequest,
  encodeSessionRequest,
  type SessionRequest,
} from '../../protocol/session-request.ts';
import type { LinkCloseReason, Message, MessageLinkHandler } from '../../transport/message-link.ts';
import type { SecureLink } from './secure-link.ts';

/** From the keys to the word of the other side: one round trip, or less. */
const EXCHANGE_LIMIT_MS = 10_000;

/**
 * The client's side; takes the link's handler. Resolves with what the exit has received; the handler is to be set in
 * the turn in which it resolves. Rejects, with the link aborted: with the exit's reason, or `link-lost`, `link-slow`,
 * `dial-cancelled`.
 */
export function requestSession(
  link: SecureLink,
  request: SessionRequest,
  signal: AbortSignal,
  limitMs = EXCHANGE_LIMIT_MS,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => word.fail(new WstunError('dial-cancelled'));
    const word = new FirstWord(link, limitMs, {
      onMessage: (message) => {
        const answer = decodeSessionAnswer(message);
        if (answer === undefined) return word.fail(new WstunError('bad-record'));
        if ('fault' in answer) return word.fail(new WstunError(answer.fault));
        signal.removeEventListener('abort', onAbort);
        word.succeed();
        resolve(answer.received);
      },
      onFailed: (error) => {
        signal.removeEventListener('abort', onAbort);
        reject(error);
      },
    });
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort);
    link.send([encodeSessionRequest(request)]);
  });
}

export interface RequestEvents {
  /** In the turn of the request; the link's handler is to be set in it. */
  onRequest(request: SessionRequest): void;
  /** Once, instead. The link is aborted. */
  onFailed(error: WstunError): void;
}

/** The exit's side; takes the link's handler. */
export function awaitRequest(link: SecureLink, events: RequestEvents): void {
  const word = new FirstWord(link, EXCHANGE_LIMIT_MS, {
    onMessage: (message) => {
      const request = decodeSessionRequest(message);
      if (request === undefined) return word.fail(new WstunError('bad-record'));
      word.succeed();
      events.onRequest(request);
    },
    onFailed: (error) => events.onFailed(error),
  });
}

interface FirstWordEvents {
  onMessage(message: Message): void;
  onFailed(error: WstunError): void;
}

/** Waits for one message, with a limit; ends once. */
class FirstWord implements MessageLinkHandler {
  private readonly link: SecureLink;
  private readonly events: FirstWordEvents;
  private readonly limit: NodeJS.Timeout;
  private over = false;

  constructor(link: SecureLink, limitMs: number, events: FirstWordEvents) {
    this.link = link;
    this.events = events;
    this.limit = setTimeout(() => this.fail(new WstunError('link-slow')), limitMs);
    link.setHandler(this);
  }

  handleMessage(message: Message): void {
    if (!this.over) this.events.onMessage(message);
  }

  handleDrain(): void {}

  handleClose({ text }: LinkCloseReason): void {
    this.fail(new WstunError('link-lost', text));
  }

  /** Records may follow in the same read: they are for the next handler. */
  succeed(): void {
    this.end();
    this.link.takeHandler();
  }

  fail(error: WstunError): void {
    if (this.over) return;
    this.end();
    this.link.abort();
    this.events.onFailed(error);
  }

  private end(): void {
    this.over = true;
    clearTimeout(this.limit);
  }
}
