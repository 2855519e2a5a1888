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
   * From the connection to a whole proxy request, ms. Default 10,000: programs send it at once; a slower one is dead or
   * idle.
   */
  readonly negotiationMs: number;
  /**
   * How long a refused connection may take to read its refusal and close, ms. Default 10,000: RFC 1928 §6 ("not more
   * than 10 seconds after detecting the condition").
   */
  readonly lingerMs: number;
  /**
   * From the end of an HTTP response to the whole header of the next request, ms. Default 60,000: browsers reuse
   * connections within seconds. An idle connection also holds one stream to its last target.
   */
  readonly keepAliveMs: number;
  /**
   * How long the bytes before a reset may wait for a program or a target that does not read, ms; then the reset is sent
   * without them. Default: as for piped connections, RESET_WAIT_MS.
   */
  readonly resetWaitMs: number;
}

export const DEFAULT_PROXY_LIMITS: ProxyLimits = {
  maxConnections: 2_048,
  negotiationMs: 10_000,
  lingerMs: 10_000,
  keepAliveMs: 60_000,
  resetWaitMs: RESET_WAIT_MS,
};
