/** The limits of a relay's public side, with their defaults and reasons. */

export interface RelayLimits {
  /** From the connection to the last byte of the request, ms; over TLS as much again for the handshake. */
  readonly requestMs: number;
  /** Connections that are not links, on all addresses together. */
  readonly pendingSockets: number;
  /** Of these, from one public IPv4 address or IPv6 /64. 0: no limit and no penalties. */
  readonly pendingPerSource: number;
  /** Connections of visitors of a site (`--decoy`), beside those that are pending. */
  readonly visitors: number;
  /** Links at once. Beyond, tickets open none, and their peers are told so. */
  readonly links: number;
}

/** The file descriptors that a service usually may have are 65,536, and each stream takes one too. */
export const DEFAULT_LINKS = 10_000;

export const DEFAULT_RELAY_LIMITS: RelayLimits = {
  // A request is one packet, a handshake two round trips; slower than ten seconds is Slowloris.
  requestMs: 10_000,
  // 5 KB each, 27 KB over TLS (measured), and up to 16 KiB of head: at most 44 MB. A thousand clients may return at
  // once.
  pendingSockets: 1_024,
  // It takes sixteen addresses to fill the above, and still 64 clients behind one NAT may return in the same instant.
  pendingPerSource: 64,
  // As nginx, whose default is 512 to 1,024 connections. 6 KB each with an upstream (measured), and what its sockets
  // hold.
  visitors: 1_024,
  links: DEFAULT_LINKS,
};
