/** The interface of the formats in which a TCP connection carries datagrams. Only types. */
import type { Target } from '../../tunnel/stream/stream.ts';

/** What is at the head of some bytes. `end`: the index of the first byte behind it. */
export type DatagramFrame =
  | { readonly kind: 'incomplete' }
  /** `target`: undefined where the connection has one for all its datagrams. */
  | { readonly kind: 'datagram'; readonly target: Target | undefined; readonly data: Buffer; readonly end: number }
  /** For all datagrams that follow. Undefined: each says its own. Once, before the first one. */
  | { readonly kind: 'request'; readonly target: Target | undefined; readonly end: number }
  /** A datagram to what cannot be a target: it is dropped. */
  | { readonly kind: 'skipped'; readonly end: number }
  /** Where the next frame begins cannot be known. */
  | { readonly kind: 'malformed' };

/** Of one connection. */
export interface DatagramFraming {
  /** The next frame. To be called again with what is behind it, or with more bytes if it is incomplete. */
  read(bytes: Buffer): DatagramFrame;
  /** What stands before the data of a datagram to the program. */
  header(from: Target, dataLength: number): Buffer;
}

export const INCOMPLETE: DatagramFrame = { kind: 'incomplete' };
export const MALFORMED: DatagramFrame = { kind: 'malformed' };
