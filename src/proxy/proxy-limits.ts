/** The limits of the local proxy. Only types and numbers. */
import { RESET_WAIT_MS } from '../tunnel/stream/socket-reset.ts';

export interface ProxyLimits {
  /**
   * Connections open at once; further ones are closed unread. Default 2,048: several busy browsers (each opens at most
   * a few hundred), and within the usual 4,096 descriptors. About 10 KiB each when idle; up to 130 KiB if a reader
   * stops.
   */
  readonly maxConnections: number;
  /**
   * UDP associations open at once; for a further one, the one that has been idle for longest ends. Default 512: a
   * tun2proxy has one for each flow of some seconds. Each has a descriptor and a UDP buffer of the kernel.
   */
  readonly maxAssociations: number;
  /** From the connection to a whole proxy request, ms. Default 10,000: programs send it at once. */
  readonly negotiationMs: number;
  /** How long a refused connection may take to read that and close, ms. Default 10,000, as RFC 1928 §6 says. */
  readonly lingerMs: number;
  /** From a response to the next request's whole header, ms. Default 60,000. An idle connection holds a stream. */
  readonly keepAliveMs: number;
  /** How long bytes before a reset may wait for a reader that stopped, ms. Default: RESET_WAIT_MS, as in pipes. */
  readonly resetWaitMs: number;
}

export const DEFAULT_PROXY_LIMITS: ProxyLimits = {
  maxConnections: 2_048,
  maxAssociations: 512,
  negotiationMs: 10_000,
  lingerMs: 10_000,
  keepAliveMs: 60_000,
  resetWaitMs: RESET_WAIT_MS,
};
