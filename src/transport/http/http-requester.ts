/**
 * How the HTTP link makes requests: all that its client side needs of Node, or of a page's `fetch`. An implementation
 * knows nothing of links, and never reads a URL: its path holds a secret.
 */

export interface LinkHttpRequest {
  readonly method: 'GET' | 'POST';
  /** Absolute, http: or https:, with a secret in its path. */
  readonly url: string;
  /** Of a POST: its pieces in order, at most 524,288 bytes together. They stay unchanged; the requester only reads. */
  readonly body?: readonly Uint8Array[];
}

/** Nothing is called within `request` or a call of the exchange, and nothing after `handleEnd` or `handleFault`. */
export interface AnswerHandler {
  /** Once, before the content. @param header by its name in lower case; undefined: missing, or not visible here */
  handleHead(status: number, header: (name: string) => string | undefined): void;
  /** A piece of the content, as soon as it has arrived. The receiver owns it. */
  handleBody(chunk: Uint8Array): void;
  /** The answer is complete. */
  handleEnd(): void;
  /** There was no answer, or it was cut. @param error for faults of the dial; not for decisions */
  handleFault(error: unknown): void;
}

/** One request under way. All calls are without effect after its end. */
export interface HttpExchange {
  /** No more content is delivered, after at most one piece, so that the sender is slowed down. */
  pause(): void;
  resume(): void;
  /** Ends it at once. Its handler is not called any more. */
  abort(): void;
}

export interface HttpRequester {
  /** Requests with a body that may be under way; missing: 4, as a page has six connections to a host. */
  readonly mostBodies?: number;
  /**
   * Starts at once: nothing may wait for another request of the same link, of which 4 more than `mostBodies` may be
   * under way.
   */
  request(request: LinkHttpRequest, handler: AnswerHandler): HttpExchange;
  /**
   * A request seems to be on a connection that carries nothing any more. No connection that exists is used for the next
   * requests; those under way go on. Missing where connections cannot be chosen.
   */
  distrust?(): void;
  /** No more requests: ends what is under way, and closes idle connections. */
  close(): void;
}

/** Time and chance as of `Clock`, for code that runs in pages too. */
export interface LinkClock {
  /** Monotonic, ms. */
  now(): number;
  readonly setTimeout: (callback: () => void, delayMs: number) => LinkTimer;
  readonly clearTimeout: (timer: LinkTimer | undefined) => void;
  /** Uniform, at least 0 and less than 1. */
  random(): number;
}

/** Opaque. */
export interface LinkTimer {
  unref(): LinkTimer;
}
