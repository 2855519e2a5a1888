/**
 * How the nodes of one relay work together. A node is a process with the relay's keys: alone, one of several workers on
 * a machine, or one of several machines. A client and its exit may come to two nodes; this is all that the code above
 * knows of it. A driver carries it: this file has that of a node which is alone. It carries control messages, and
 * nothing of what sessions hold, except for links that came to another node than the one that waits for them.
 */
import type { MessageLink } from '../transport/message-link.ts';

/** What became of a call that went to another node. */
export type CallOutcome =
  /** The exit was told to dial back. */
  | 'called'
  /** It is registered at no node. */
  | 'absent'
  /** It is registered somewhere, but cannot come to this node, or its node did not answer in time. */
  | 'unreachable';

/** A request to an exit to dial back (docs/protocol.md §11). */
export interface Call {
  readonly token: string;
  /** URL of the relay to which it is to dial; missing: where its control link goes. */
  readonly relay?: string | undefined;
}

/** What a node does for the others. */
export interface RendezvousHandler {
  /** A client waits at another node. `absent`: this node does not have that exit any more. */
  handleCall(exit: string, call: Call): CallOutcome;
  /** An exit has answered a call of this node, and its link came to another one. Its handler is set in this turn. */
  handleAnswer(exit: string, token: string, link: MessageLink): void;
  /** The link goes to another node, which has a client for an exit that cannot go there: joins it with the exit. */
  handleForward(exit: string, link: MessageLink, peer: string): void;
  /** Of an exit that is registered elsewhere: the gate keys that it announced, base64url; empty where it has none. */
  handleKeys(exit: string, keys: readonly string[]): void;
  /** A newer exit of that name has registered at another node, and takes the place of the one here. */
  handleReplaced(exit: string): void;
}

export interface Rendezvous {
  /** Whether there may be other nodes. Where there are none, nothing else here is asked. */
  readonly hasOthers: boolean;
  /** Tokens of calls that this node makes begin with it: 0 to 8 lower-case hex digits. */
  readonly tokenPrefix: string;
  /** Before anything else. What comes from other nodes goes to the handler set last. */
  setHandler(handler: RendezvousHandler): void;
  /** The control link of that exit is here. Returns what is to be called, once, when it is not here any more. */
  announce(exit: string): () => void;
  /** Whether that exit has its control link at another node, where two links must not stand: then a newer one wins. */
  isElsewhere(exit: string): boolean;
  /** What an exit announced here, for the gates of all nodes. */
  shareKeys(exit: string, keys: readonly string[]): void;
  /** Tells the handler once more what exits of other nodes have announced. */
  repeatKeys(): void;
  /** Has an exit that is not here dial back. Never rejects, and resolves within the time that a client is held. */
  call(exit: string, token: string): Promise<CallOutcome>;
  /** An exit of this node has said that it cannot come to the node whose call has that token. */
  noteUnreached(exit: string, token: string): void;
  /** Whether that token is one of another node. Whether that node still waits for it, only that node knows. */
  isOthers(token: string): boolean;
  /** Hands a link that answers a call of another node over to it: takes the link's handler. */
  passAnswer(exit: string, token: string, link: MessageLink): void;
}

/** For a relay of one process: an exit that is not here is nowhere. */
export const ALONE: Rendezvous = {
  hasOthers: false,
  tokenPrefix: '',
  setHandler() {},
  announce: () => () => {},
  isElsewhere: () => false,
  shareKeys() {},
  repeatKeys() {},
  call: async () => 'absent',
  noteUnreached() {},
  isOthers: () => false,
  passAnswer: (_exit, _token, link) => link.abort(),
};
