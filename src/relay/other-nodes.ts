/** What the gate asks of other nodes: workers on its port, and machines. In one process there is none of it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { HttpLinkKey } from '../crypto/ticket.ts';
import type { Admitted } from './gate.ts';
import type { RequestHead } from './site/request-scanner.ts';

/** An upgrade that was admitted at another node, which has not answered it. */
export interface PassedUpgrade {
  readonly head: RequestHead;
  /** What came after the head. */
  readonly rest: Buffer;
  readonly admitted: Admitted;
  /** Where its peer is, for logs. */
  readonly remote: string;
}

/** Nodes at which the same tickets open. */
export interface TicketClaims {
  /**
   * Whether a ticket with that nonce, hex, was used at none of the others. Never rejects.
   * @param audience for which relay it is; undefined: it does not say
   */
  claim(nonce: string, audience: bigint | undefined): Promise<boolean>;
}

/** Nodes on the same port. */
export interface OtherNodes extends TicketClaims {
  /** An HTTP link is open here, or its requests are not for this node any more. */
  noteHttpLink(id: bigint, key?: HttpLinkKey): void;
  /** The other node that has that HTTP link, and its key: what it did not seal is a stranger's. */
  httpLinkOf(id: bigint): { readonly node: string; readonly key: HttpLinkKey } | undefined;
  /** Has the other node answer a request. Calls back with false where that has none for it: nothing was answered. */
  forward(
    node: string,
    request: IncomingMessage,
    response: ServerResponse,
    onOutcome: (isAnswered: boolean) => void,
  ): void;
  /** The other node whose call an exit answers with that token. */
  nodeOfCall(token: string): string | undefined;
  /** Hands the connection itself over: nothing of it passes through this node any more. */
  passUpgrade(node: string, socket: Socket, upgrade: PassedUpgrade): void;
  /** Who takes such connections. */
  setUpgradeHandler(handle: (socket: Socket, upgrade: PassedUpgrade) => void): void;
  /** Who answers what others forward. */
  setRequestHandler(handle: (request: IncomingMessage, response: ServerResponse) => void): void;
}

/** Of workers and of machines: a ticket must be new to both. */
export function claimsOf(workers?: TicketClaims, machines?: TicketClaims): TicketClaims | undefined {
  if (workers === undefined || machines === undefined) return workers ?? machines;
  const claim: TicketClaims['claim'] = async (...ticket) =>
    (await workers.claim(...ticket)) && (await machines.claim(...ticket));
  return { claim };
}
