/** The interface by which the server drives the SOCKS negotiations. Only types. */
import type { FaultName } from '../errors.ts';
import type { Target } from '../tunnel/stream/stream.ts';

/** `udp-in-tcp`: datagrams in the connection itself, command 5 of hev-socks5 (src/proxy/udp/). */
export type SocksCommand = 'connect' | 'bind' | 'udp-associate' | 'udp-in-tcp';

/** What to do after some bytes; `reply` is sent first, and may be empty. */
export type SocksStep =
  | { readonly kind: 'more'; readonly reply: Uint8Array }
  /** `rest`: what followed the request, for the target. */
  | {
      readonly kind: 'request';
      readonly reply: Uint8Array;
      readonly command: SocksCommand;
      readonly target: Target;
      readonly rest: Uint8Array;
    }
  /** The reply tells the program why, as far as the protocol allows; then the connection ends. */
  | { readonly kind: 'refused'; readonly reply: Uint8Array; readonly fault: FaultName };

/** One negotiation: bytes in, in any pieces; the outcome does not depend on where they are split. */
export interface SocksNegotiation {
  /** Must not be called again once it has returned `request` or `refused`. */
  receive(bytes: Uint8Array): SocksStep;
  /** The reply to the request, once the dial has had an outcome. */
  readonly granted: Uint8Array;
  /** The same with an address: where a port has been opened for the program, or who has connected to it. */
  grantedAt(place: Target): Uint8Array;
  failed(fault: FaultName): Uint8Array;
}

export const NOTHING: Uint8Array = new Uint8Array(0);
