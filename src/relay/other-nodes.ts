/** What the gate of a relay asks of other nodes on the same port. In one process there is none of it. */
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface OtherNodes {
  /** Whether a ticket with that nonce, hex, was used at none of the others. Never rejects. */
  claim(nonce: string): Promise<boolean>;
  /** An HTTP link is open here, or its requests are not for this node any more. */
  noteHttpLink(id: bigint, isKnown: boolean): void;
  /** The other node that has that HTTP link. */
  nodeOfHttpLink(id: bigint): string | undefined;
  /** Has the other node answer a request; `onTaken`: it was one of a link. */
  forward(node: string, request: IncomingMessage, response: ServerResponse, onTaken: () => void): void;
  /** Who answers what others forward. */
  setRequestHandler(handle: (request: IncomingMessage, response: ServerResponse) => void): void;
}
