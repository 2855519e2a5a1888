/**
 * A TCP connection to a port at which nobody listens, in the range of ephemeral ports, can meet itself: the system may
 * give it that very port (simultaneous open, RFC 9293 §3.5). It would then echo whatever is sent. Pure.
 */

interface Ends {
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

/** Of one that is connected. */
export function isSelfConnected({ localAddress, localPort, remoteAddress, remotePort }: Ends): boolean {
  return localPort !== undefined && localPort === remotePort && localAddress === remoteAddress;
}
