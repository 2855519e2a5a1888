/**
 * Node ends a request that is not complete after `requestTimeout`, counted from its first byte, however steadily it
 * arrives. That is right for strangers. The body of a link's request may take longer on a slow path; the link itself
 * ends those that stand still. Node has no option for one request: it looks at the parsers that a server has in its
 * list of connections, and a parser takes itself off that list. It is back on it with the next request.
 */
import type { Socket } from 'node:net';

interface ListedParser {
  /** Of Node's HTTPParser: used by Node itself when it frees a parser. */
  remove?(): void;
}

/** Without effect where Node has no such method: then a body has as long as a stranger's. */
export function serveSlowBody(socket: Socket): void {
  const { parser } = socket as Socket & { readonly parser?: ListedParser | null };
  parser?.remove?.();
}
